package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
)

// Subject says for whom an approval is.
type Subject string

// The kinds of subjects.
const (
	OneHost   Subject = "host"
	OnePerson Subject = "person"
	OneGroup  Subject = "group"
)

// Approval is an exception from the policy: a messenger, one file, or a publisher's programs, may run somewhere until it ends. Field names are API.
type Approval struct {
	ID      string  `json:"id"`
	Subject Subject `json:"subject"`
	Name    string  `json:"name"`           // of the person or group; the id of the host
	Host    string  `json:"host,omitempty"` // name of the host, for people
	App     string  `json:"app,omitempty"`
	SHA256  string  `json:"sha256,omitempty"`
	// Publisher is the subject of a signer, all of whose programs may run.
	Publisher string    `json:"publisher,omitempty"`
	Until     time.Time `json:"until"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	Asked     string    `json:"asked,omitempty"` // id of the request that it answers
}

// What says what may run.
func (a Approval) What() string {
	if a.Publisher != "" {
		return "publisher " + a.Publisher
	}
	return a.App + a.SHA256
}

// names counts what an approval names: it is to be one.
func (a Approval) names() int {
	n := 0
	for _, s := range []string{a.App, a.SHA256, a.Publisher} {
		if s != "" {
			n++
		}
	}
	return n
}

// For says for whom it is, in words.
func (a Approval) For() string {
	if a.Subject == OneHost {
		return "host " + a.Host
	}
	return string(a.Subject) + " " + a.Name
}

// Asked is a request for an approval that waits for a decision. Field names are API.
type Asked struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"` // id
	Name   string    `json:"name"` // of the host
	User   string    `json:"user,omitempty"`
	App    string    `json:"app,omitempty"`
	SHA256 string    `json:"sha256,omitempty"`
	Path   string    `json:"path,omitempty"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Bounds of approvals and requests.
const (
	maxApprovals    = 10_000
	maxAsked        = 2_000
	maxAskedEach    = 20
	MaxApprovalLife = 366 * 24 * time.Hour
)

// Errors of approvals.
var (
	ErrNoApproval = errors.New("no approval or request of that id")
	ErrApproval   = errors.New("that is no exception")
)

// approvals are kept in one file, whole.
type approvals struct {
	path string
	now  func() time.Time
	mu   sync.Mutex
	d    approvalsFile
}

type approvalsFile struct {
	InForce []Approval `json:"in_force"`
	Asked   []Asked    `json:"asked"`
}

func openApprovals(dir string, now func() time.Time) (*approvals, error) {
	a := &approvals{path: filepath.Join(dir, "approvals.json"), now: now}
	if err := readJSON(a.path, &a.d); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return a, nil
}

// change changes a copy, writes it, and has it in force.
func (a *approvals) change(f func(d *approvalsFile) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	next := approvalsFile{slices.Clone(a.d.InForce), slices.Clone(a.d.Asked)}
	next.InForce = slices.DeleteFunc(next.InForce, func(x Approval) bool { return now.After(x.Until) })
	if err := f(&next); err != nil {
		return err
	}
	if err := writeJSON(a.path, next); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	a.d = next
	return nil
}

func (a *approvals) lists() (inForce []Approval, asked []Asked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	inForce = slices.DeleteFunc(slices.Clone(a.d.InForce), func(x Approval) bool { return now.After(x.Until) })
	return inForce, slices.Clone(a.d.Asked)
}

// add puts a request into the queue; the same one again changes nothing.
func (a *approvals) add(q Asked) (queued bool, err error) {
	err = a.change(func(d *approvalsFile) error {
		same, each := false, 0
		for _, x := range d.Asked {
			same = same || x.ID == q.ID
			if x.Host == q.Host {
				each++
			}
		}
		if queued = same || len(d.Asked) < maxAsked && each < maxAskedEach; queued && !same {
			d.Asked = append(d.Asked, q)
		}
		return nil
	})
	return queued, err
}

// ask puts a request of an agent into the queue.
func (s *Server) ask(ctx context.Context, h Host, r protocol.Request) error {
	host := s.hostOf(h)
	q := Asked{ID: string(event.ImportID(s.eventKey, "request "+h.ID, r.ID, "")), Host: h.ID, Name: h.Name, User: r.User, App: r.App, SHA256: r.SHA256, Path: r.Path,
		Reason: r.Reason, At: s.deps.Clock.Now()}
	queued, err := s.approvals.add(q)
	if err != nil {
		return err
	}
	outcome := "waiting"
	if !queued {
		outcome = "not queued: too many are waiting"
	}
	return s.deps.Acts.Record(ctx, &event.Event{Kind: event.Act, Phase: "approval.request", Connector: "fleet", Host: host, From: event.Party{Handle: r.User + "@" + h.Name, Name: r.User, Person: host.Person},
		Content: event.Content{Act: &event.ActDetail{Action: "approval.request", Object: strings.TrimSpace(r.App + " " + r.SHA256), Purpose: r.Reason,
			Details: []event.Fact{{Name: "request", Value: q.ID}, {Name: "path", Value: r.Path}, {Name: "outcome", Value: outcome}}}}})
}

// Approvals returns those in force and the requests that wait.
func (s *Server) Approvals() ([]Approval, []Asked) { return s.approvals.lists() }

// Grant approves something. When it answers a request, what that asked for is taken from it.
func (s *Server) Grant(ctx context.Context, by string, a Approval) (Approval, error) {
	inForce, waiting := s.approvals.lists()
	if a.Asked != "" {
		i := slices.IndexFunc(waiting, func(q Asked) bool { return q.ID == a.Asked })
		if i < 0 {
			return a, ErrNoApproval
		}
		q := waiting[i]
		a.App, a.SHA256, a.Publisher = q.App, "", ""
		if q.App == "" {
			a.SHA256 = q.SHA256
		}
		if a.Subject == "" {
			a.Subject, a.Name = OneHost, q.Host
		}
		if a.Reason == "" {
			a.Reason = q.Reason
		}
	}
	now := s.deps.Clock.Now()
	if err := a.wrong(now); err != nil {
		return a, err
	}
	if err := s.knows(a); err != nil {
		return a, err
	}
	if len(inForce) >= maxApprovals {
		return a, fmt.Errorf("there are %d approvals already", maxApprovals)
	}
	if a.Subject == OneHost {
		h, err := s.roster.find(a.Name, Approved)
		if err != nil {
			return a, err
		}
		a.Name, a.Host = h.ID, h.Name
	}
	a.ID, a.By, a.At, a.Until = event.RandomID()[:12], by, now, a.Until.UTC().Truncate(time.Second)
	err := s.act(ctx, by, "approval.grant", a.What(), event.Fact{Name: "approval", Value: a.ID}, event.Fact{Name: string(a.Subject), Value: a.Name},
		event.Fact{Name: "until", Value: a.Until.Format(time.RFC3339)}, event.Fact{Name: "reason", Value: a.Reason})
	if err != nil {
		return a, err
	}
	err = s.approvals.change(func(d *approvalsFile) error {
		d.InForce = append(d.InForce, a)
		d.Asked = slices.DeleteFunc(d.Asked, func(q Asked) bool { return q.ID == a.Asked })
		return nil
	})
	s.pokeAll(hostFlag)
	return a, err
}

// wrong says what an approval lacks.
func (a Approval) wrong(now time.Time) error {
	text := ""
	switch {
	case a.Subject != OneHost && a.Subject != OnePerson && a.Subject != OneGroup || a.Name == "":
		text = "it names no host, person or group that it is for"
	case a.names() == 0:
		text = "it names nothing that may run: a messenger, a file by its SHA-256, or a publisher"
	case a.names() > 1:
		text = "it names more than one of a messenger, a file and a publisher"
	case a.SHA256 != "" && len(a.SHA256) != 64:
		text = "a SHA-256 has 64 hexadecimal digits"
	case a.Reason == "":
		text = "it has no reason"
	case !a.Until.After(now):
		text = "it has ended already"
	case a.Until.Sub(now) > MaxApprovalLife:
		text = "it ends more than a year ahead"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrApproval, text)
}

// knows refuses an approval for a person whom nobody knows, for a group that there is not, and of what could be no rule: it would let nothing
// run, and nobody would see that.
func (s *Server) knows(a Approval) error {
	if err := s.deps.Source.Check(a); err != nil {
		return fmt.Errorf("%w: %w", ErrApproval, err)
	}
	all, ok := s.deps.Directory.(interface{ Enrol(r identity.Roll) })
	if a.Subject != OnePerson || !ok {
		return nil
	}
	who := persons{}
	if all.Enrol(who); !who[a.Name] {
		return fmt.Errorf("%w: the table of people has no %q; it has %s", ErrApproval, a.Name, who.some())
	}
	return nil
}

// persons are those of a directory, by their ids.
type persons map[string]bool

// Person implements identity.Roll.
func (p persons) Person(id, _ string) { p[id] = true }

// Handle implements identity.Roll.
func (p persons) Handle(_, _, person string) { p[person] = true }

// Host implements identity.Roll.
func (p persons) Host(_, _, person string) { p[person] = true }

// mostSaid is how many names an error tells.
const mostSaid = 10

// some names some of them.
func (p persons) some() string {
	list := slices.Sorted(maps.Keys(p))
	if len(list) == 0 {
		return "nobody"
	}
	text := strings.Join(list[:min(len(list), mostSaid)], ", ")
	if more := len(list) - mostSaid; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Withdraw ends an approval, or refuses a request.
func (s *Server) Withdraw(ctx context.Context, by, id, reason string) error {
	inForce, waiting := s.approvals.lists()
	action := ""
	switch {
	case slices.ContainsFunc(inForce, func(a Approval) bool { return a.ID == id }):
		action = "approval.withdraw"
	case slices.ContainsFunc(waiting, func(q Asked) bool { return q.ID == id }):
		action = "approval.refuse"
	default:
		return ErrNoApproval
	}
	if err := s.act(ctx, by, action, id, event.Fact{Name: "reason", Value: reason}); err != nil {
		return err
	}
	err := s.approvals.change(func(d *approvalsFile) error {
		d.InForce = slices.DeleteFunc(d.InForce, func(a Approval) bool { return a.ID == id })
		d.Asked = slices.DeleteFunc(d.Asked, func(q Asked) bool { return q.ID == id })
		return nil
	})
	s.pokeAll(hostFlag)
	return err
}

// approvedFor returns what is approved for a host, its person or that person's groups.
func (a *approvals) approvedFor(h Host, person string, groups []string) []protocol.Approval {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	var out []protocol.Approval
	for _, x := range a.d.InForce {
		switch {
		case now.After(x.Until):
		case x.Subject == OneHost && x.Name == h.ID, x.Subject == OnePerson && person != "" && x.Name == person, x.Subject == OneGroup && slices.Contains(groups, x.Name):
			if len(out) < maxPerHost {
				out = append(out, protocol.Approval{ID: x.ID, App: x.App, SHA256: x.SHA256, Publisher: x.Publisher, Until: x.Until, Reason: x.Reason})
			}
		}
	}
	return out
}

// maxPerHost bounds the approvals of one host.
const maxPerHost = 500
