package fleet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Stage is how far a campaign has gone.
type Stage string

// The stages. A plan changes nothing; the canary hosts go first, then all; undoing brings back what can be brought back.
const (
	Planned Stage = "planned"
	Canary  Stage = "canary"
	All     Stage = "all"
	Stopped Stage = "stopped"
	Undoing Stage = "undoing"
	Undone  Stage = "undone" // all have answered; what was not brought back may be asked for again
	Ended   Stage = "ended"  // by an administrator, while machines had not answered

	// AllAtOnce takes a plan to All without its canary hosts. No campaign stays at it.
	AllAtOnce Stage = "all-at-once"
)

// Campaign removes a messenger from all hosts that have it. Field names are API.
type Campaign struct {
	ID      string     `json:"id"`
	App     string     `json:"app"`
	Version string     `json:"version,omitempty"` // only that one
	Action  string     `json:"action"`            // remove or quarantine
	SHA256  []string   `json:"sha256,omitempty"`  // files that somebody looked at, named by their content: taken away whatever the evidence
	Reason  string     `json:"reason"`
	By      string     `json:"by"`
	Made    time.Time  `json:"made"`
	Digest  string     `json:"digest"` // of the plan: who starts it names it
	Stage   Stage      `json:"stage"`
	Hosts   []PlanHost `json:"hosts"`
	// UndoneFrom is when it was last asked to be undone: orders to restore live from then.
	UndoneFrom time.Time `json:"undone_from,omitzero"`
}

// PlanHost is what a campaign does on one host, and what became of it.
type PlanHost struct {
	ID     string               `json:"id"`
	Name   string               `json:"name"`
	Canary bool                 `json:"canary,omitempty"`
	Held   bool                 `json:"held,omitempty"` // at planning time; asked again before each order
	Items  []protocol.OrderItem `json:"items"`
	Left   []LeftFile           `json:"left,omitempty"`   // files that stay, as nothing identifies the messenger in them for itself
	Unsure int                  `json:"unsure,omitempty"` // files that are not even known surely

	Done     *protocol.Report `json:"done,omitempty"`
	DoneAt   time.Time        `json:"done_at,omitzero"`
	Undone   *protocol.Report `json:"undone,omitempty"`
	UndoneAt time.Time        `json:"undone_at,omitzero"`
	// Again is how often it was asked once more for what it had not brought back, and Waiting that it has not answered the last of these.
	Again   int              `json:"again,omitempty"`
	Waiting bool             `json:"waiting,omitempty"`
	Part    *protocol.Report `json:"part,omitempty"` // of a report whose other parts are still to come

	size int // of Items as they are sent, while it is planned
}

// orderLife is how long a host that is away may take to carry an order out.
const orderLife = 30 * 24 * time.Hour

const maxCampaigns = 200

// Bounds of what one host is ordered at a time; the rest comes once it has reported.
const (
	orderedAtOnce = 10
	orderedFiles  = 1000
	orderedBytes  = protocol.MaxOverlay / 2 // of those files, as they are sent: paths may be long
)

// Errors of campaigns.
var (
	ErrNoCampaign = errors.New("no campaign of that id")
	ErrNotTried   = errors.New("no canary machine has begun")
	ErrStage      = errors.New("the campaign is not at a stage from which that goes")
	ErrPlan       = errors.New("that is not the plan that was shown: look at it again")
	ErrNothing    = errors.New("no host has it: nothing is to be done")
	ErrCanary     = errors.New("no machine to begin with")
)

// campaigns are kept in a file each.
type campaigns struct {
	dir  string
	mu   sync.Mutex
	list map[string]*Campaign
}

func openCampaigns(dir string) (*campaigns, error) {
	c := &campaigns{dir: filepath.Join(dir, "campaigns"), list: map[string]*Campaign{}}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		var x Campaign
		if err := readJSON(path, &x); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
		c.list[x.ID] = &x
	}
	return c, nil
}

// clone copies what may change.
func (x Campaign) clone() Campaign {
	x.Hosts = slices.Clone(x.Hosts)
	return x
}

func (c *campaigns) get(id string) (Campaign, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.list[id]
	if x == nil {
		return Campaign{}, ErrNoCampaign
	}
	return x.clone(), nil
}

// change changes a copy, writes it, and has it in force.
func (c *campaigns) change(id string, f func(x *Campaign) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.list[id]
	if old == nil {
		return ErrNoCampaign
	}
	next := old.clone()
	if err := f(&next); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(c.dir, id+".json"), next); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	c.list[id] = &next
	return nil
}

func (c *campaigns) add(x Campaign) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) >= maxCampaigns {
		return fmt.Errorf("there are %d campaigns already", maxCampaigns)
	}
	if err := writeJSON(filepath.Join(c.dir, x.ID+".json"), x); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	c.list[x.ID] = &x
	return nil
}

// doID is the id of the order for what a campaign does.
func (x *Campaign) doID() string { return x.ID + "-do" }

// ordersFor are the orders in force for a host. A held host gets none that remove.
func (c *campaigns) ordersFor(host string, held bool) []protocol.Order {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []protocol.Order
	files, size := 0, 0
	for _, id := range slices.Sorted(maps.Keys(c.list)) {
		x := c.list[id]
		if len(out) == orderedAtOnce {
			break
		}
		if x.Stage != Canary && x.Stage != All && x.Stage != Undoing {
			continue
		}
		i := slices.IndexFunc(x.Hosts, func(p PlanHost) bool { return p.ID == host })
		if i < 0 {
			continue
		}
		o := x.order(&x.Hosts[i], held)
		if len(o.Items) == 0 {
			continue
		}
		if files, size = files+len(o.Items), size+sizeOf(o.Items); len(out) > 0 && (files > orderedFiles || size > orderedBytes) {
			break
		}
		out = append(out, o)
	}
	return out
}

// order is what a host is told to do for a campaign; without files it is nothing.
func (x *Campaign) order(p *PlanHost, held bool) protocol.Order {
	switch {
	case x.Stage == Undoing && !p.answered():
		expires := x.Made.Add(2 * orderLife)
		if again := x.UndoneFrom.Add(orderLife); again.After(expires) {
			expires = again
		}
		return protocol.Order{ID: x.undoID(p), Plan: x.Digest, Action: protocol.RestoreOrder, Expires: expires, Items: undoable(*p)}
	case x.Stage != Undoing && p.Done == nil && !held && (x.Stage == All || p.Canary):
		return protocol.Order{ID: x.doID(), Plan: x.Digest, Action: x.Action, Expires: x.Made.Add(orderLife), Items: p.Items}
	}
	return protocol.Order{}
}

// sizeOf is what files of an order take as they are sent, in bytes.
func sizeOf(items []protocol.OrderItem) int {
	b, err := protocol.Encode(items)
	if err != nil {
		return orderedBytes // a list of texts is always encoded
	}
	return len(b)
}

// Open are the names of the machines that have not answered what the campaign wants of them at its stage, or wanted when it ended.
func (x Campaign) Open() []string {
	var out []string
	for _, p := range x.Hosts {
		open := false
		switch x.Stage {
		case Canary, All:
			open = p.Done == nil && len(p.Items) > 0 && (x.Stage == All || p.Canary)
		case Undoing, Undone, Ended:
			open = !p.answered() && len(undoable(p)) > 0
		}
		if open {
			out = append(out, p.Name)
		}
	}
	return out
}

// settle ends an undoing once all have answered, and goes on with one where a machine says only now that it did something.
func (x *Campaign) settle() {
	switch open := len(x.Open()); {
	case x.Stage == Undoing && open == 0:
		x.Stage = Undone
	case x.Stage == Undone && open > 0:
		x.Stage = Undoing
	}
}

// report keeps what a host did. A report of something that it was not told is passed over: the acts on record say what was done there.
func (c *campaigns) report(h Host, r protocol.Report, now time.Time) error {
	id, what, ok := strings.Cut(r.Order, "-")
	if !ok {
		return nil
	}
	err := c.change(id, func(x *Campaign) error {
		i := slices.IndexFunc(x.Hosts, func(p PlanHost) bool { return p.ID == h.ID })
		if i < 0 || r.Plan != x.Digest {
			return ErrNoCampaign
		}
		p := &x.Hosts[i]
		if what != "do" && r.Order != x.undoID(p) { // it answers what was asked before
			return ErrNoCampaign
		}
		switch {
		case p.Part != nil && p.Part.Order == r.Order:
			r = p.Part.With(r)
		case what == "do" && p.Done != nil: // the last part once more, as after a crash
			r = p.Done.With(r)
		}
		if p.Part = nil; r.More {
			p.Part = &r
			return nil
		}
		if what == "do" {
			p.Done, p.DoneAt = &r, now
		} else {
			p.undone(r, now)
		}
		x.settle()
		return nil
	})
	if errors.Is(err, ErrNoCampaign) {
		return nil
	}
	return err
}

// Plan says what a campaign would do, from the last inventory of each host, and keeps that. Nothing is changed anywhere.
func (s *Server) Plan(ctx context.Context, by string, x Campaign, canary []string) (Campaign, error) {
	if x.Action != protocol.RemoveOrder && x.Action != protocol.QuarantineOrder || x.App == "" || x.Reason == "" {
		return x, errors.New("a campaign names a messenger, a reason, and whether to remove or quarantine")
	}
	if err := x.checkNamed(); err != nil {
		return x, err
	}
	x.ID, x.By, x.Made, x.Stage, x.Hosts = event.RandomID()[:12], by, s.deps.Clock.Now().Truncate(time.Second), Planned, nil
	for _, h := range s.roster.list(Approved) {
		p, err := s.planHost(h, x)
		if err != nil {
			return x, err
		}
		if p.Canary = slices.Contains(canary, h.ID) || slices.Contains(canary, h.Name); len(p.Items)+len(p.Left) > 0 {
			x.Hosts = append(x.Hosts, p)
		}
	}
	if len(x.Hosts) == 0 { // of a mistyped name that would be said as well
		return x, cmp.Or(s.deps.Source.Check(Approval{App: x.App, Reason: x.Reason, Until: x.Made}), ErrNothing)
	}
	if err := s.checkCanary(x.Hosts, canary); err != nil {
		return x, err
	}
	chooseCanary(x.Hosts, len(canary) > 0)
	digest, err := planDigest(x)
	if err != nil {
		return x, err
	}
	x.Digest = digest
	if err := s.act(ctx, by, "campaign.plan", x.App, s.facts(x)...); err != nil {
		return x, err
	}
	return x, s.campaigns.add(x)
}

func (s *Server) planHost(h Host, x Campaign) (PlanHost, error) {
	p := PlanHost{ID: h.ID, Name: h.Name}
	if h.Inventory == nil {
		return p, nil
	}
	for _, prog := range h.Inventory.Programs {
		if prog.App == x.App && (x.Version == "" || prog.Version == x.Version) {
			p.take(prog, slices.Contains(x.SHA256, prog.SHA256))
		}
	}
	p.settle()
	var err error
	if len(p.Items) > 0 {
		p.Held, err = s.held(s.hostOf(h))
	}
	return p, err
}

// checkCanary refuses names of machines on which the campaign does nothing: it would begin nowhere.
func (s *Server) checkCanary(hosts []PlanHost, canary []string) error {
	for _, name := range canary {
		i := slices.IndexFunc(hosts, func(p PlanHost) bool { return p.ID == name || p.Name == name })
		switch {
		case i >= 0 && hosts[i].Held:
			return fmt.Errorf("%w: %s is under a hold", ErrCanary, name)
		case i >= 0 && len(hosts[i].Items) > 0:
			continue
		}
		if _, err := s.roster.find(name, Approved); err != nil {
			return fmt.Errorf("%w: %w", ErrCanary, err)
		}
		return fmt.Errorf("%w: the last scan of %s found nothing that is surely of it", ErrCanary, name)
	}
	return nil
}

// chooseCanary makes a twentieth of the hosts the canary group, at least one, when nobody was named.
func chooseCanary(hosts []PlanHost, named bool) {
	if named {
		return
	}
	want := (len(hosts) + 19) / 20
	for i := range hosts {
		if want > 0 && len(hosts[i].Items) > 0 && !hosts[i].Held {
			hosts[i].Canary = true
			want--
		}
	}
}

// planDigest is the SHA-256 of what would be done where.
func planDigest(x Campaign) (string, error) {
	b, err := json.Marshal(struct {
		App, Version, Action string
		Hosts                []PlanHost
	}{x.App, x.Version, x.Action, x.Hosts})
	if err != nil {
		return "", fmt.Errorf("digest of the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func (s *Server) facts(x Campaign) []event.Fact {
	files := 0
	for _, h := range x.Hosts {
		files += len(h.Items)
	}
	out := []event.Fact{{Name: "campaign", Value: x.ID}, {Name: "plan", Value: x.Digest}, {Name: "action", Value: x.Action}, {Name: "hosts", Value: fmt.Sprint(len(x.Hosts))},
		{Name: "files", Value: fmt.Sprint(files)}, {Name: "reason", Value: x.Reason}}
	for _, sum := range x.SHA256 {
		out = append(out, event.Fact{Name: "named", Value: sum})
	}
	return out
}

// Advance takes a campaign to another stage: canary, all, all at once, stopped or undoing. Who starts it names the plan that they have seen.
func (s *Server) Advance(ctx context.Context, by, id string, to Stage, digest string) (Campaign, error) {
	x, err := s.campaigns.get(id)
	if err != nil {
		return x, err
	}
	if to == Stopped && x.Stage == Undoing {
		to = Ended
	}
	if to == All && x.Stage == Planned {
		return x, ErrNotTried
	}
	from := map[Stage][]Stage{Canary: {Planned}, All: {Canary, Stopped}, AllAtOnce: {Planned}, Stopped: {Canary, All}, Undoing: {Canary, All, Stopped, Ended}, Ended: {Undoing}}[to]
	if to == Undoing && x.NotUndone() > 0 {
		from = append(from, Undoing, Undone)
	}
	if !slices.Contains(from, x.Stage) {
		return x, fmt.Errorf("%w: from %s to %s", ErrStage, x.Stage, to)
	}
	if (to == Canary || to == All || to == AllAtOnce) && digest != x.Digest {
		return x, ErrPlan
	}
	if err := s.act(ctx, by, "campaign."+string(to), x.App, s.facts(x)...); err != nil {
		return x, err
	}
	err = s.campaigns.change(id, func(x *Campaign) error {
		if x.Stage = to; to == AllAtOnce {
			x.Stage = All
		}
		if to == Undoing {
			x.askAgain(s.deps.Clock.Now().Truncate(time.Second))
		}
		x.settle()
		return nil
	})
	if err != nil {
		return x, err
	}
	s.pokeAll(hostFlag)
	return s.campaigns.get(id)
}

// Campaigns returns the campaigns, the newest first.
func (s *Server) Campaigns() []Campaign {
	s.campaigns.mu.Lock()
	defer s.campaigns.mu.Unlock()
	var out []Campaign
	for _, x := range s.campaigns.list {
		out = append(out, x.clone())
	}
	slices.SortFunc(out, func(a, b Campaign) int { return b.Made.Compare(a.Made) })
	return out
}

// Campaign returns one campaign.
func (s *Server) Campaign(id string) (Campaign, error) { return s.campaigns.get(id) }
