package execution

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/event"
)

// DefaultLearning is how long machines learn before proposals are called ready.
const DefaultLearning = 14 * 24 * time.Hour

// Proposal is what would be approved before lockdown: all of a publisher, what a package of its own brought, or one file. Field names are API.
type Proposal struct {
	Type  string `json:"type"` // "proposal"
	ID    string `json:"id"`
	Kind  string `json:"kind"` // publisher, package or file
	Name  string `json:"name"`
	Files []File `json:"files"`
	Count
	Ready  time.Time `json:"ready"`  // when machines will have learned long enough
	Digest string    `json:"digest"` // of its files: who accepts what was shown names it
}

// Errors of decisions.
var (
	ErrNoProposal = errors.New("no proposal of that id")
	ErrChanged    = errors.New("the proposal has other files by now than those that were shown: look at it again")
)

// learns reports whether an event says what lockdown would stop, on a machine that only learns.
func learns(e *event.Event) bool {
	return e.Verdict.Rule == judge.RuleLockdown && !e.Verdict.Enforced && len(e.Program.SHA256) == 64
}

// packaged finds where something that brings its programs in one folder has them. The folder only groups what is proposed: approved is each file
// by its content.
var packaged = regexp.MustCompile(`^(/snap/[^/]+|/var/lib/snapd/snap/[^/]+|/var/lib/flatpak/app/[^/]+|/home/[^/]+/\.local/share/flatpak/app/[^/]+|/opt/[^/]+|/usr/local/(?:lib|share|libexec)/[^/]+|/home/[^/]+/\.local/(?:lib|share|pipx/venvs)/[^/]+|.*?/[^/]+\.app)/`)

// group returns which proposal a file belongs to.
func (f *File) group() (kind, name string) {
	if f.Publisher != "" {
		return "publisher", f.Publisher
	}
	if m := packaged.FindStringSubmatch(f.Path); m != nil {
		return "package", m[1]
	}
	return "file", f.Path
}

// Proposals returns what was learned, the most used first. Learning is how long it takes; 0 is the default.
func (t *Tally) Proposals(learning time.Duration) []Proposal {
	if learning <= 0 {
		learning = DefaultLearning
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string]*Proposal{}
	var begun time.Time
	for _, f := range t.d.Learned {
		if begun.IsZero() || f.First.Before(begun) {
			begun = f.First
		}
		kind, name := f.group()
		key := kind + "\x00" + name
		if kind == "file" {
			key = kind + "\x00" + f.SHA256
		}
		p := found[key]
		if p == nil {
			sum := sha256.Sum256([]byte(key))
			p = &Proposal{Type: "proposal", ID: hex.EncodeToString(sum[:6]), Kind: kind, Name: name}
			found[key] = p
		}
		p.take(f)
	}
	out := make([]Proposal, 0, len(found))
	for _, p := range found {
		slices.SortFunc(p.Files, func(a, b File) int {
			return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.SHA256, b.SHA256))
		})
		slices.Sort(p.Hosts)
		p.Ready, p.Digest = begun.Add(learning), p.digest()
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Proposal) int {
		return cmp.Or(cmp.Compare(len(b.Hosts), len(a.Hosts)), cmp.Compare(b.Times, a.Times), strings.Compare(a.ID, b.ID))
	})
	return out
}

// digest is of what accepting approves.
func (p *Proposal) digest() string {
	h := sha256.New()
	for _, f := range p.Files {
		fmt.Fprintf(h, "%s %s\n", f.SHA256, f.Path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (p *Proposal) take(f *File) {
	own := *f
	own.Hosts = slices.Clone(f.Hosts)
	p.Files = append(p.Files, own)
	p.Times += f.Times
	if p.First.IsZero() || f.First.Before(p.First) {
		p.First = f.First
	}
	if f.Last.After(p.Last) {
		p.Last = f.Last
	}
	for _, h := range f.Hosts {
		if !slices.Contains(p.Hosts, h) && len(p.Hosts) < maxHosts {
			p.Hosts = append(p.Hosts, h)
		}
	}
	p.More = p.More || f.More
}

// proposal returns one by its id.
func (t *Tally) proposal(id string) (Proposal, error) {
	for _, p := range t.Proposals(0) {
		if p.ID == id {
			return p, nil
		}
	}
	return Proposal{}, ErrNoProposal
}

// forget drops what a proposal holds: it was decided. What runs and is stopped all the same comes back.
func (t *Tally) forget(p *Proposal) error {
	t.mu.Lock()
	maps.DeleteFunc(t.d.Learned, func(sum string, _ *File) bool {
		return slices.ContainsFunc(p.Files, func(f File) bool { return f.SHA256 == sum })
	})
	t.mu.Unlock()
	return t.save()
}
