package xmpp

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/said"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/event"
)

// slotRequest is a client's wish to upload (XEP-0363, section 4).
type slotRequest struct {
	name string
	kind string
	size int64
}

// slot is a granted upload, waiting for its file.
type slot struct {
	slotRequest
	owner   string
	get     string // path of the download
	expires time.Time
	host    string // where the client came from
	busy    bool
}

// judgedFile is what is known of a file that went through: messages that name it are judged with that.
type judgedFile struct {
	file event.File
	hits []event.Hit
	not  []event.NotInspected
}

const (
	maxSlotRequests = 32     // of one session, unanswered
	maxSlots        = 10_000 // of all sessions, unused
	maxJudgedFiles  = 20_000
	slotLife        = 10 * time.Minute
)

// slots are the open upload slots and the files that went through them, by path.
type slots struct {
	mu    sync.Mutex
	open  map[string]*slot
	files map[string]judgedFile
	order []string // of files, oldest first
}

func (t *slots) add(path string, s *slot, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= maxSlots {
		for p, old := range t.open {
			if old.expires.Before(now) {
				delete(t.open, p)
			}
		}
	}
	if len(t.open) >= maxSlots {
		return false
	}
	t.open[path] = s
	return true
}

// take hands out the slot of a path to one upload at a time.
func (t *slots) take(path string, now time.Time) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.open[path]
	if s == nil || s.busy || s.expires.Before(now) {
		return nil
	}
	s.busy = true
	return s
}

// settle closes a slot, or opens it for another try.
func (t *slots) settle(path string, s *slot, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.busy = false; !again {
		delete(t.open, path)
	}
}

func (t *slots) remember(path string, f judgedFile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.files[path]; !known {
		t.order = append(t.order, path)
		if len(t.order) > maxJudgedFiles {
			delete(t.files, t.order[0])
			t.order = slices.Delete(t.order, 0, 1)
		}
	}
	t.files[path] = f
}

func (t *slots) file(path string) (judgedFile, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.files[path]
	return f, ok
}

// askSlot notes what a client wants to upload.
func (s *session) askSlot(n, request *xmlstream.Node, raw []byte) error {
	if s.g.uploads == nil {
		return s.refuse(n, noUploads)
	}
	size, err := strconv.ParseInt(request.Attr("size"), 10, 64)
	if err != nil || size <= 0 || size > s.g.uploads.max {
		return s.refuse(n, refusal{"modify", "not-acceptable", "This file is larger than the gateway takes."})
	}
	s.slotsMu.Lock()
	full := len(s.slots) >= maxSlotRequests
	if !full {
		s.slots[n.Attr("id")] = &slotRequest{request.Attr("filename"), request.Attr("content-type"), size}
	}
	s.slotsMu.Unlock()
	if full {
		return s.refuse(n, refusal{"wait", "resource-constraint", "Too many uploads at a time."})
	}
	return s.forward(raw)
}

// gotSlot points the two addresses of a slot to the gateway; the rest of the stanza stays as it came.
func (s *session) gotSlot(n, granted *xmlstream.Node, raw []byte) error {
	s.slotsMu.Lock()
	asked := s.slots[n.Attr("id")]
	delete(s.slots, n.Attr("id"))
	s.slotsMu.Unlock()
	put, get := granted.Child(nsUpload, "put"), granted.Child(nsUpload, "get")
	if asked == nil || put == nil || get == nil || s.g.uploads == nil {
		return s.withhold(n, noUploads)
	}
	putPath, putEdit, err := s.g.uploads.point(put)
	if err != nil {
		return s.withhold(n, noUploads)
	}
	getPath, getEdit, err := s.g.uploads.point(get)
	if err != nil {
		return s.withhold(n, noUploads)
	}
	_, bare := s.account.Load().jid()
	now := s.g.clock.Now()
	granteds := &slot{slotRequest: *asked, owner: bare, get: getPath, expires: now.Add(slotLife), host: s.address}
	if !s.g.uploads.slots.add(putPath, granteds, now) {
		return s.withhold(n, noUploads)
	}
	edits := []xmlstream.Edit{putEdit, getEdit}
	slices.SortFunc(edits, func(a, b xmlstream.Edit) int { return a.From - b.From })
	return s.deliver(xmlstream.Apply(raw, edits...))
}

// point returns the path (with its query) of an address in a slot, and the edit that makes it ours.
func (u *uploads) point(n *xmlstream.Node) (string, xmlstream.Edit, error) {
	for _, a := range n.Attrs {
		if a.Local != "url" || a.Space != "" {
			continue
		}
		at, err := url.Parse(a.Value)
		if err != nil || !strings.HasPrefix(at.EscapedPath(), "/") {
			break
		}
		path := at.RequestURI()
		return path, xmlstream.Edit{From: a.From, To: a.To, With: xmlstream.Escape(nil, u.base()+path)}, nil
	}
	return "", xmlstream.Edit{}, errNoAddress
}

// attach gives an event the files that its message names, with what was found in them.
func (g *Gateway) attach(e *event.Event, m *said.Content) {
	if g.uploads == nil || !strings.Contains(e.Text, "://") {
		return
	}
	base := g.uploads.base()
	seen := map[string]bool{}
	for _, word := range append(strings.Fields(e.Text), m.URLs...) {
		path, ours := strings.CutPrefix(word, base)
		if !ours || seen[path] || len(seen) == 16 {
			continue
		}
		seen[path] = true
		f, known := g.uploads.slots.file(path)
		if !known {
			f.file = event.File{URL: word}
		}
		e.Files = append(e.Files, f.file)
		e.Hits = append(e.Hits, f.hits...)
		e.NotChecked = append(e.NotChecked, f.not...)
	}
}
