// Package protocol is what the fleet server and its agents say to each other: one stream of frames over TLS 1.3, signed bundles of policy
// down, spooled items up.
//
// A frame is a kind, a length and a payload, and each kind has a limit of its own; HTTP/2 would bring header tables, three goroutines and
// 20 to 40 KB for each idle agent, and nothing that is needed here. What holds for agents travels as bundles: a manifest that names parts by their
// SHA-256, signed with Ed25519 over its text and numbered upward. The manifest always tells the whole state and only parts that an agent lacks
// are sent, so that a delta and a first delivery are the same thing, and a lost one costs nothing.
//
// Everything here comes from the other side of a network: each decoder is bounded and fuzzed.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Version is the version of the protocol.
const Version = 1

// Names by which a connection says what it is for (ALPN, RFC 7301): only the second asks for the agent's certificate.
const (
	Enrolling = "chaperone-enrol/1"
	Streaming = "chaperone-fleet/1"
)

// ServerName is the name in every fleet server's certificate. An agent trusts the one authority that it pinned, so no host name is needed.
const ServerName = "fleet.chaperone.invalid"

// ErrMalformed says that what came is not what the protocol allows.
var ErrMalformed = errors.New("malformed")

// Enrol asks for a certificate, and again for what became of it.
type Enrol struct {
	Protocol  int      `json:"protocol"`
	Code      string   `json:"code,omitempty"`   // id of the enrolment code; "" when only asking again
	Secret    []byte   `json:"secret,omitempty"` // of the code
	Request   []byte   `json:"request"`          // PKCS #10, signed with the agent's P-256 key
	Name      string   `json:"name"`             // of the machine
	Addresses []string `json:"addresses"`
	OS        string   `json:"os"`
	Arch      string   `json:"arch"`
	Version   string   `json:"version"` // of the agent
}

// States of an enrolment.
const (
	Pending  = "pending"  // an administrator has not decided
	Approved = "approved" //
	Denied   = "denied"   //
)

// Enrolled answers Enrol.
type Enrolled struct {
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"`
	Fingerprint string `json:"fingerprint"` // of the agent's key, as the administrator sees it
	ID          string `json:"id,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // DER
	Fleet       string `json:"fleet,omitempty"`       // name of the fleet
	Verifier    string `json:"verifier,omitempty"`    // of the key that signs bundles: pinned
}

// Hello is an agent's first frame.
type Hello struct {
	Protocol  int      `json:"protocol"`
	Version   string   `json:"version"`
	OS        string   `json:"os"`
	Arch      string   `json:"arch"`
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Mode      string   `json:"mode"`             // of the agent: monitor, deny-list, lockdown, once
	Fleet     uint64   `json:"fleet"`            // generation in force of what holds for all
	Host      uint64   `json:"host"`             // the same of what holds for this host
	Spool     string   `json:"spool"`            // random name of the spool, whose numbers are its own
	Turn      uint64   `json:"turn,omitempty"`   // of the last Welcome that this state kept; 0 for none
	Deltas    bool     `json:"deltas,omitempty"` // it takes patches of the parts that it has
	Update    *Update  `json:"update,omitempty"` // how it does with releases of this program; nil: it takes none
}

// Update is how an agent does with releases of this program that it was offered.
type Update struct {
	Format       string `json:"format"` // of packages that it takes
	Architecture string `json:"architecture"`
	Version      string `json:"version"`           // of the package that is installed
	Release      string `json:"release,omitempty"` // id of the last one that it took
	State        string `json:"state,omitempty"`   // what became of that
	Error        string `json:"error,omitempty"`
	Refused      string `json:"refused,omitempty"` // id of the last one that it refused
	Why          string `json:"why,omitempty"`
}

// Welcome answers Hello.
type Welcome struct {
	Now       time.Time `json:"now"`
	Heartbeat int       `json:"heartbeat"` // seconds between two signs of life
	Acked     uint64    `json:"acked"`     // what is on record of the agent's spool
	// Turn is another at each connection. An agent keeps it before it says anything, and says it when it comes again: whoever says an older one
	// than was kept works from a copy of the state, or from one that was restored.
	Turn uint64 `json:"turn,omitempty"`
}

// Applied says what became of a bundle.
type Applied struct {
	Scope      string `json:"scope"`
	Generation uint64 `json:"generation"`
	Error      string `json:"error,omitempty"` // why it is not in force

	Update *Update `json:"update,omitempty"` // with ReleaseScope: how it does with releases of this program
}

// ReleaseScope is the scope of Applied where it is about releases of this program.
const ReleaseScope = "release"

// Refused is the last frame of a server that hangs up.
type Refused struct {
	Reason string `json:"reason"`
	After  int    `json:"after"` // seconds to wait before another try
	// Stale is the turn to go on from for an agent whose state is a copy, or was restored: its spool gets another name, since numbers of it may
	// have been given twice. 0 for any other reason.
	Stale uint64 `json:"stale,omitempty"`
}

// Bounds of what agents report.
const (
	MaxPrograms = 1000
	MaxOutcomes = 1000
	MaxPaths    = 64   // of a scan
	MaxExcept   = 1024 // below them
	maxText     = 4096

	maxUpdateText = 1024
)

// Inventory is what a scan of a host found below some paths, the whole of it, or below all that were scanned, as the server keeps it.
type Inventory struct {
	Scanned  time.Time `json:"scanned"`
	Paths    []string  `json:"paths"`            // what was scanned, absolute and free of links; none: the whole machine
	Except   []string  `json:"except,omitempty"` // what was not entered below them
	Scans    []Scan    `json:"scans,omitempty"`  // on the server: of what it is made
	Files    int64     `json:"files"`
	Errors   int64     `json:"errors"`  // what could not be looked into
	Omitted  int       `json:"omitted"` // programs beyond MaxPrograms
	Programs []Program `json:"programs"`
}

// Scan is one of those that an inventory is made of.
type Scan struct {
	Scanned time.Time `json:"scanned"`
	Paths   []string  `json:"paths"`
	Files   int64     `json:"files"`
	Errors  int64     `json:"errors"`
	Omitted int       `json:"omitted"`
}

// Program is one messenger on a host.
type Program struct {
	App       string `json:"app"`
	Version   string `json:"version,omitempty"`
	Form      string `json:"form,omitempty"`
	Path      string `json:"path"`
	Inside    string `json:"inside,omitempty"`
	SHA256    string `json:"sha256"` // of the outermost file
	Size      int64  `json:"size"`
	Publisher string `json:"publisher,omitempty"`
	Verdict   string `json:"verdict"`
	Rule      string `json:"rule,omitempty"`
	Certain   bool   `json:"certain"`            // known surely
	Identity  bool   `json:"identity,omitempty"` // a fact identifies it for itself: sure enough to be taken away
}

// Report says what became of an order.
type Report struct {
	Order    string    `json:"order"`
	Plan     string    `json:"plan"`
	Refused  string    `json:"refused,omitempty"` // why nothing was done
	Outcomes []Outcome `json:"outcomes"`
	More     bool      `json:"more,omitempty"` // this is a part, and another comes after it
}

// reportRoom is what a report takes besides its outcomes, at most: names of order and plan, and why it was refused.
const reportRoom = 16 << 10

// Parts returns the report as items of the spool, each of which the server takes: with long paths the outcomes of one order are more than an item may be.
func (r Report) Parts() ([]Item, error) {
	var out []Item
	part, size := r, reportRoom
	part.Outcomes = nil
	end := func(more bool) error {
		part.More = more
		b, err := Encode(part)
		if err != nil {
			return err
		}
		out, part.Outcomes, size = append(out, Item{Kind: ReportItem, Body: b}), nil, reportRoom
		return nil
	}
	for _, o := range r.Outcomes {
		b, err := Encode(o)
		if err != nil {
			return nil, err
		}
		if len(part.Outcomes) > 0 && size+len(b)+1 > MaxItem {
			if err := end(true); err != nil {
				return nil, err
			}
		}
		part.Outcomes, size = append(part.Outcomes, o), size+len(b)+1
	}
	return out, end(false)
}

// maxReport bounds the texts of a report that comes in parts, in bytes: that many files of one order have paths and words of a kilobyte each.
const maxReport = 4 << 20

// size is what the texts of an outcome take.
func (o *Outcome) size() int {
	return len(o.Path) + len(o.SHA256) + len(o.Action) + len(o.ID) + len(o.Undo) + len(o.Error)
}

// With returns the report with what another part of it says. Of a file that both tell of, the later part counts; beyond what an order can have there is
// nothing.
func (r Report) With(next Report) Report {
	at := make(map[string]int, len(r.Outcomes))
	out, size := next, 0
	out.Outcomes = slices.Clone(r.Outcomes)
	for i := range out.Outcomes {
		at[out.Outcomes[i].Path] = i
		size += out.Outcomes[i].size()
	}
	for _, o := range next.Outcomes {
		i, again := at[o.Path]
		if again {
			size -= out.Outcomes[i].size()
		}
		if size += o.size(); size > maxReport {
			break
		}
		switch {
		case again:
			out.Outcomes[i] = o
		case len(out.Outcomes) < MaxOutcomes:
			at[o.Path], out.Outcomes = len(out.Outcomes), append(out.Outcomes, o)
		}
	}
	return out
}

// Outcome is what became of one file of an order.
type Outcome struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Action string `json:"action"`       // removed, quarantined, restored or none
	ID     string `json:"id,omitempty"` // in the host's quarantine
	Undo   string `json:"undo,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Request asks for an exception on behalf of a person at the machine.
type Request struct {
	ID     string `json:"id"`
	App    string `json:"app"`
	SHA256 string `json:"sha256,omitempty"`
	Path   string `json:"path,omitempty"`
	User   string `json:"user,omitempty"` // login name on that machine
	Reason string `json:"reason"`
}

// Decode reads a JSON payload strictly and checks the texts in it.
func Decode[T any](b []byte) (T, error) {
	var v T
	if !utf8.Valid(b) {
		return v, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if c, ok := any(&v).(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			return v, err
		}
	}
	return v, nil
}

// Encode writes a payload in JSON.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// texts refuses lists and texts that are longer than the protocol allows.
func texts(list []string, more ...string) error {
	if len(list) > MaxPaths {
		return fmt.Errorf("%w: %d values in a list", ErrMalformed, len(list))
	}
	for _, s := range append(more, list...) {
		if len(s) > maxText {
			return fmt.Errorf("%w: a text of %d bytes", ErrMalformed, len(s))
		}
	}
	return nil
}

func (e *Enrol) check() error {
	if e.Protocol != Version || len(e.Request) > 4096 || len(e.Secret) > 64 {
		return fmt.Errorf("%w: another version of the protocol, or too long", ErrMalformed)
	}
	return texts(e.Addresses, e.Code, e.Name, e.OS, e.Arch, e.Version)
}

func (h *Hello) check() error {
	if h.Protocol != Version {
		return fmt.Errorf("%w: version %d of the protocol", ErrMalformed, h.Protocol)
	}
	if err := h.Update.check(); err != nil {
		return err
	}
	return texts(h.Addresses, h.Version, h.OS, h.Arch, h.Name, h.Mode, h.Spool)
}

// check refuses texts that are longer than what is told of releases; nil is nothing told.
func (u *Update) check() error {
	if u == nil {
		return nil
	}
	for _, s := range []string{u.Format, u.Architecture, u.Version, u.Release, u.State, u.Error, u.Refused, u.Why} {
		if len(s) > maxUpdateText {
			return fmt.Errorf("%w: a text of %d bytes about a release", ErrMalformed, len(s))
		}
	}
	return nil
}

func (a *Applied) check() error {
	if (a.Update != nil) != (a.Scope == ReleaseScope) {
		return fmt.Errorf("%w: applied", ErrMalformed)
	}
	return errors.Join(a.Update.check(), texts(nil, a.Scope, a.Error))
}

func (i *Inventory) check() error {
	if len(i.Programs) > MaxPrograms {
		return fmt.Errorf("%w: %d programs", ErrMalformed, len(i.Programs))
	}
	if len(i.Except) > MaxExcept || len(i.Scans) > 0 {
		return fmt.Errorf("%w: %d paths that were not entered, %d scans", ErrMalformed, len(i.Except), len(i.Scans))
	}
	if err := texts(nil, i.Except...); err != nil {
		return err
	}
	for _, p := range i.Programs {
		if err := texts(nil, p.App, p.Version, p.Form, p.Path, p.Inside, p.SHA256, p.Publisher, p.Verdict, p.Rule); err != nil {
			return err
		}
	}
	return texts(i.Paths)
}

func (r *Report) check() error {
	if len(r.Outcomes) > MaxOutcomes {
		return fmt.Errorf("%w: %d outcomes", ErrMalformed, len(r.Outcomes))
	}
	for _, o := range r.Outcomes {
		if err := texts(nil, o.Path, o.SHA256, o.Action, o.ID, o.Undo, o.Error); err != nil {
			return err
		}
	}
	return texts(nil, r.Order, r.Plan, r.Refused)
}

func (r *Request) check() error {
	if r.ID == "" || r.App == "" && r.SHA256 == "" {
		return fmt.Errorf("%w: a request names a messenger or a file", ErrMalformed)
	}
	return texts(nil, r.ID, r.App, r.SHA256, r.Path, r.User, r.Reason)
}

// Failed returns how many files nothing was done to.
func (r *Report) Failed() int {
	n := 0
	for _, o := range r.Outcomes {
		if o.Error != "" {
			n++
		}
	}
	return n
}
