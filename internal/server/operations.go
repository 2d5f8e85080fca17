package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/search"
)

// Sign says who asks, when it is not the user of this machine that the kernel names.
type Sign struct {
	Account  string `json:"account,omitempty"`
	Password string `json:"password,omitempty"`
	Code     string `json:"code,omitempty"`
	Purpose  string `json:"purpose,omitempty"`
}

// Arguments of the operations.
type (
	// SearchArgs are those of search.
	SearchArgs struct {
		Sign
		Query string `json:"query"`
		Limit int    `json:"limit"`
		Count bool   `json:"count"`
	}
	// PersonArgs are those of person.
	PersonArgs struct {
		Sign
		Who   string `json:"who"`
		Limit int    `json:"limit"`
	}
	// EraseArgs are those of erase.
	EraseArgs struct {
		Sign
		ID     event.ID `json:"id"`
		Reason string   `json:"reason"`
	}
	// AccountArgs are those of account.create and account.link.
	AccountArgs struct {
		Name  string         `json:"name"`
		Roles []control.Role `json:"roles"`
		UIDs  []uint32       `json:"uids"`
	}
)

// Wire is an event on its way to the process that records: both halves in canonical bytes, so that nothing is lost.
type Wire struct {
	Header  []byte `json:"header"`
	Content []byte `json:"content"`
}

// ToWire encodes an event for the operation record.
func ToWire(e *event.Event) (Wire, error) {
	h, content, err := e.Split(event.NewSalt())
	if err != nil {
		return Wire{}, event.Unfit(err)
	}
	header, err := event.Canonical(&h)
	return Wire{header, content}, event.Unfit(err)
}

// Event decodes what ToWire encoded.
func (w Wire) Event() (*event.Event, error) {
	h, err := event.ParseHeader(w.Header)
	if err != nil {
		return nil, event.Unfit(err)
	}
	e, err := event.Assemble(h, w.Content)
	return e, event.Unfit(err)
}

// operations are what the process that writes offers.
type operations struct {
	store    *Store
	rules    *Rules
	recorder event.Recorder // of what other commands send
	serves   bool           // this process decides on traffic, so that the trial of a catalog has numbers
}

// Operations returns the explicit list of operations on a store.
func Operations(s *Store, r *Rules) control.Operations {
	return (&operations{store: s, rules: r, recorder: s.Recorder}).list()
}

func (o *operations) list() control.Operations {
	anyone, admin := []control.Role{control.Nobody}, []control.Role{control.Administrator}
	return append(o.catalogOperations(),
		control.With("search", anyone, o.search),
		control.With("person", anyone, o.person),
		control.With("disclose", anyone, o.disclose),
		control.With("observations", anyone, o.observations),
		control.With("observations.hours", anyone, o.hours),
		control.With("hold.place", anyone, o.holdPlace),
		control.With("hold.release", anyone, o.holdRelease),
		control.With("hold.list", anyone, o.holdList),
		control.With("hold.host", admin, o.holdHost),
		control.With("erase", anyone, o.erase),
		control.With("dispose", anyone, o.dispose),
		control.With("record", admin, o.record),
		control.With("rebuild", admin, o.rebuild),
		control.With("policy.replay", anyone, o.policyReplay), control.With("policy.dry-run", anyone, o.policyDryRun),
		control.With("keys.drill", admin, o.keysDrill),
		control.With("health", anyone, o.health),
		control.With("account.create", admin, o.accountCreate),
		control.With("account.link", admin, o.accountLink),
		control.With("account.list", admin, o.accountList),
	)
}

// caller returns who asks: the account that signs, else the user of this machine.
func (o *operations) caller(call *control.Call, s Sign) (control.Caller, error) {
	if s.Account == "" {
		return call.Caller, nil
	}
	token, caller, err := o.store.Book.SignIn(s.Account, s.Password, s.Code)
	if err != nil {
		return control.Caller{}, err
	}
	o.store.Book.SignOut(token)
	return caller, nil
}

func (o *operations) view(ctx context.Context, call *control.Call, s Sign) (*archive.View, error) {
	if o.store.Archive == nil {
		return nil, errors.New("no compliance key is unlocked here (keys.unlock): nothing can be read")
	}
	caller, err := o.caller(call, s)
	if err != nil {
		return nil, err
	}
	if err := o.store.Projector.Sync(ctx); err != nil {
		return nil, err
	}
	return o.store.Archive.Open(ctx, archive.Account{Name: caller.Account, Reads: caller.Has(control.Reviewer, control.Counsel)}, s.Purpose)
}

func (o *operations) search(ctx context.Context, call *control.Call, a SearchArgs) error {
	v, err := o.view(ctx, call, a.Sign)
	if err != nil {
		return err
	}
	if a.Count {
		n, err := o.store.Searcher.Count(ctx, v, a.Query)
		if err == nil {
			_, err = fmt.Fprintln(call.Out, n)
		}
		return err
	}
	out := json.NewEncoder(call.Out)
	for r, err := range o.store.Searcher.Search(ctx, v, a.Query, "", a.Limit) {
		if err != nil {
			return err
		}
		if err := out.Encode(search.HitOf(r.Record)); err != nil {
			return err
		}
	}
	return nil
}

func (o *operations) person(ctx context.Context, call *control.Call, a PersonArgs) error {
	v, err := o.view(ctx, call, a.Sign)
	if err != nil {
		return err
	}
	if _, err := v.Person(ctx, a.Who); err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	page, sent := archive.Page{Limit: archive.MaxLimit}, 0
	for {
		part, err := v.Timeline(ctx, a.Who, archive.Filter{OldestFirst: true}, page)
		if err != nil {
			return err
		}
		for _, r := range part.Items {
			if a.Limit > 0 && sent == a.Limit {
				return nil
			}
			hit := search.HitOf(r)
			if err := out.Encode(hit); err != nil {
				return err
			}
			sent++
		}
		if page.Cursor = part.Next; page.Cursor == "" {
			return nil
		}
	}
}

func (o *operations) erase(ctx context.Context, call *control.Call, a EraseArgs) error {
	if o.store.Keeper == nil {
		return errors.New("no compliance key is unlocked here (keys.unlock): only the role that reads erases")
	}
	caller, err := o.caller(call, a.Sign)
	if err != nil {
		return err
	}
	if !caller.Has(control.Counsel, control.Reviewer) {
		return fmt.Errorf("erase: %w: it needs the role counsel or reviewer, of two people", control.ErrForbidden)
	}
	outcome, err := o.store.Keeper.Erase(ctx, caller.Account, a.ID, a.Reason)
	if held := (*retention.HeldError)(nil); errors.As(err, &held) {
		return fmt.Errorf("erase %s: %w", a.ID, &retention.HeldError{What: held.What, Matter: o.store.Archive.Text(held.Matter)})
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(call.Out, outcome)
	return err
}

// record makes events of another command durable, in batches, as they come.
func (o *operations) record(ctx context.Context, call *control.Call, _ struct{}) error {
	in := json.NewDecoder(io.LimitReader(call.In, maxSent))
	var batch []*event.Event
	for {
		e, err := next(in)
		if err == nil {
			resolveHost(o.store, e)
			batch = append(batch, e)
		}
		if len(batch) == sentBatch || err != nil && len(batch) > 0 {
			if failed := o.recorder.Record(ctx, batch...); failed != nil {
				return errors.Join(err, failed)
			}
			batch = batch[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
}

// Bounds of what one command may send: bytes, and events in one commit.
const (
	maxSent   = 1 << 30
	sentBatch = 128
)

// next reads one event that another command sends.
func next(in *json.Decoder) (*event.Event, error) {
	var w Wire
	if err := in.Decode(&w); err != nil {
		return nil, err
	}
	e, err := w.Event()
	if err != nil {
		return nil, err
	}
	if !mayBeSent(e) {
		return nil, event.Unfit(fmt.Errorf("%w: %s of that kind are made by this process only", control.ErrForbidden, e.Kind))
	}
	return e, nil
}

// resolveHost says whose machine an event was on.
func resolveHost(s *Store, e *event.Event) {
	if e.Host.Person == "" && (e.Host.Name != "" || e.Host.Address != "") {
		found := s.People.Host(e.Host.Name, e.Host.Address, e.Time)
		e.Host.Person = found.Person
		if e.Host.Name == "" {
			e.Host.Name = found.Name
		}
	}
}

func (o *operations) rebuild(ctx context.Context, call *control.Call, _ struct{}) error {
	if o.store.Projector == nil {
		return errors.New("no compliance key is unlocked here (keys.unlock): projections cannot be built")
	}
	start := time.Now()
	if err := o.store.Projector.Rebuild(ctx); err != nil {
		return err
	}
	if err := o.store.keysHealth(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(call.Out, "projections rebuilt from the journal in %s\n", time.Since(start).Round(time.Millisecond))
	return err
}

func (o *operations) health(_ context.Context, call *control.Call, _ struct{}) error {
	out := json.NewEncoder(call.Out)
	for _, i := range o.store.Board.Items() {
		if err := out.Encode(i); err != nil {
			return err
		}
	}
	return nil
}

func (o *operations) act(ctx context.Context, call *control.Call, action, object string) error {
	return o.store.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: "control", From: event.Party{Handle: call.Caller.Account},
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: object}}})
}

func (o *operations) accountCreate(ctx context.Context, call *control.Call, a AccountArgs) error {
	if err := o.store.Book.CanCreate(a.Name, a.Roles, a.UIDs...); err != nil {
		return err
	}
	if err := o.act(ctx, call, "account.create", fmt.Sprintf("%s %v", a.Name, a.Roles)); err != nil {
		return err
	}
	return o.store.Book.Create(a.Name, a.Roles, a.UIDs...)
}

func (o *operations) accountLink(ctx context.Context, call *control.Call, a AccountArgs) error {
	if !slices.ContainsFunc(o.store.Book.List(), func(x account.Account) bool { return x.Name == a.Name }) {
		return account.ErrUnknown
	}
	if err := o.act(ctx, call, "account.link", a.Name); err != nil {
		return err
	}
	token, err := o.store.Book.NewLink(a.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(call.Out, token)
	return err
}

func (o *operations) accountList(_ context.Context, call *control.Call, _ struct{}) error {
	out := json.NewEncoder(call.Out)
	for _, a := range o.store.Book.List() {
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return nil
}
