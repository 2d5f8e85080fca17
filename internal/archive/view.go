package archive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Conversations lists conversations, the latest first. Who, when not empty, is a handle, a person, a room's name or an id.
func (v *View) Conversations(ctx context.Context, who string, page Page) (Part[Conversation], error) {
	if err := v.Look(ctx, object("conversations", who)); err != nil {
		return Part[Conversation]{}, err
	}
	who, err := v.Name(ctx, who)
	if err != nil {
		return Part[Conversation]{}, err
	}
	part, err := v.archive.driver.Catalogue.Conversations(ctx, who, page)
	part.Items = lift(v, part.Items)
	for _, c := range part.Items {
		v.shuffle(c.Handles, nil, nil)
	}
	return part, err
}

// Conversation returns what is known of one conversation, without its messages.
func (v *View) Conversation(ctx context.Context, id string) (Conversation, error) {
	if err := v.Look(ctx, object("conversation", id)); err != nil {
		return Conversation{}, err
	}
	c, err := v.archive.driver.Catalogue.Conversation(ctx, id)
	c = lift(v, c)
	v.shuffle(c.Handles, nil, nil)
	return c, err
}

// Messages lists the messages of a conversation, the newest first, each with its revisions, reactions, deliveries and verdicts.
func (v *View) Messages(ctx context.Context, conversation string, page Page) (Part[Message], error) {
	if err := v.Look(ctx, object("conversation", conversation)); err != nil {
		return Part[Message]{}, err
	}
	f := Filter{Conversation: conversation, Kinds: []event.Kind{event.Message, event.FileUpload, event.Call, event.Join, event.Leave, event.RoomChange, event.Gap}}
	records, err := v.page(ctx, f, page)
	if err != nil {
		return Part[Message]{}, err
	}
	out := Part[Message]{Next: records.Next, Items: make([]Message, len(records.Items))}
	for i, r := range records.Items {
		if out.Items[i], err = v.message(ctx, r); err != nil {
			return Part[Message]{}, err
		}
	}
	out.Items = lift(v, out.Items)
	return out, nil
}

// Message returns one record with all that became of it. For an edit, retraction or reaction it is the message that it belongs to.
func (v *View) Message(ctx context.Context, id event.ID) (Message, error) {
	if err := v.Look(ctx, object("message", string(id))); err != nil {
		return Message{}, err
	}
	r, err := v.archive.driver.Records.Record(ctx, id)
	for range maxChain {
		if err != nil || r.Event.Refers == "" {
			break
		}
		root, rootErr := v.archive.driver.Records.Record(ctx, r.Event.Refers)
		if rootErr != nil {
			break // what it refers to was never seen: it stands alone
		}
		r = root
	}
	if err != nil {
		return Message{}, err
	}
	m, err := v.message(ctx, r)
	return lift(v, m), err
}

// maxChain bounds how far references are followed.
const maxChain = 100

// Record returns one record, of any kind.
func (v *View) Record(ctx context.Context, id event.ID) (Record, error) {
	if err := v.Look(ctx, object("record", string(id))); err != nil {
		return Record{}, err
	}
	r, err := v.archive.driver.Records.Record(ctx, id)
	return lift(v, r), err
}

// Events lists records of all kinds.
func (v *View) Events(ctx context.Context, f Filter, page Page) (Part[Record], error) {
	if err := v.Look(ctx, object("events", describe(f))); err != nil {
		return Part[Record]{}, err
	}
	var err error
	if f.Who, err = v.namesOf(ctx, f.Who); err != nil {
		return Part[Record]{}, err
	}
	return v.shownPage(v.page(ctx, f, page))
}

// Acts lists what administrators, reviewers and the program itself did, the newest first.
func (v *View) Acts(ctx context.Context, page Page) (Part[Record], error) {
	if err := v.Look(ctx, "acts"); err != nil {
		return Part[Record]{}, err
	}
	return v.shownPage(v.page(ctx, Filter{Kinds: []event.Kind{event.Act}}, page))
}

// Timeline lists the events of all planes that concern who: a person, a handle, a host's name or an address. A person's time line has the
// events of their handles and of the hosts that are theirs. Within f, Who is ignored.
func (v *View) Timeline(ctx context.Context, who string, f Filter, page Page) (Part[Record], error) {
	if err := v.Look(ctx, object("timeline", who)); err != nil {
		return Part[Record]{}, err
	}
	who, err := v.Name(ctx, who)
	if err != nil {
		return Part[Record]{}, err
	}
	p, err := v.person(ctx, who)
	if err != nil {
		return Part[Record]{}, err
	}
	f.Who = append([]string{who}, p.names()...)
	return v.shownPage(v.pageWhere(ctx, f, page, func(r Record) bool { return p.concerns(who, r) }))
}

// Person returns the person with that id, or whose handle, host or address it is, with all their handles and hosts. Somebody unresolved is
// a Person without an id.
func (v *View) Person(ctx context.Context, who string) (Person, error) {
	if err := v.Look(ctx, object("person", who)); err != nil {
		return Person{}, err
	}
	name, err := v.Name(ctx, who)
	if err != nil {
		return Person{}, err
	}
	p, err := v.person(ctx, name)
	if err == nil && len(p.Handles)+len(p.Hosts) == 0 {
		err = fmt.Errorf("person %q: %w", who, ErrNotFound)
	}
	p = lift(v, p)
	v.shuffle(nil, p.Hosts, []Person{p})
	return p, err
}

// People lists everyone a handle or host was bound to, by id. Handles that nobody is known for are listed last, one Person without id each.
func (v *View) People(ctx context.Context) ([]Person, error) {
	if err := v.Look(ctx, "people"); err != nil {
		return nil, err
	}
	handles, err := v.archive.driver.Catalogue.Handles(ctx, "")
	if err != nil {
		return nil, err
	}
	hosts, err := v.archive.driver.Catalogue.Hosts(ctx, "")
	if err != nil {
		return nil, err
	}
	people := lift(v, gather(handles, hosts))
	v.shuffle(nil, nil, people)
	for _, p := range people {
		v.shuffle(nil, p.Hosts, nil)
	}
	return people, nil
}

// Hosts lists the machines: all (""), of a person, or of that name, address or id.
func (v *View) Hosts(ctx context.Context, who string) ([]Host, error) {
	if err := v.Look(ctx, object("hosts", who)); err != nil {
		return nil, err
	}
	who, err := v.Name(ctx, who)
	if err != nil {
		return nil, err
	}
	hosts, err := v.archive.driver.Catalogue.Hosts(ctx, who)
	hosts = lift(v, hosts)
	v.shuffle(nil, hosts, nil)
	return hosts, err
}

// Sightings lists the messengers seen, the latest first.
func (v *View) Sightings(ctx context.Context, f SightingFilter) ([]Sighting, error) {
	if err := v.Look(ctx, object("messengers", f.App+" "+f.Host+" "+f.Person)); err != nil {
		return nil, err
	}
	var err error
	if f.Host, err = v.Name(ctx, f.Host); err != nil {
		return nil, err
	}
	if f.Person, err = v.Name(ctx, f.Person); err != nil {
		return nil, err
	}
	found, err := v.archive.driver.Catalogue.Sightings(ctx, f)
	return lift(v, found), err
}

// shownPage is a page of records as the view shows it.
func (v *View) shownPage(part Part[Record], err error) (Part[Record], error) {
	part.Items = lift(v, part.Items)
	return part, err
}

func (v *View) page(ctx context.Context, f Filter, page Page) (Part[Record], error) {
	return v.pageWhere(ctx, f, page, func(Record) bool { return true })
}

func (v *View) pageWhere(ctx context.Context, f Filter, page Page, keep func(Record) bool) (Part[Record], error) {
	var out Part[Record]
	cursor := page.Cursor
	for s, err := range v.archive.driver.Records.Select(ctx, f, page.Cursor) {
		if err != nil {
			return Part[Record]{}, err
		}
		if !keep(s.Record) {
			cursor = s.Cursor
			continue
		}
		if len(out.Items) == page.Size() {
			out.Next = cursor
			break
		}
		out.Items = append(out.Items, s.Record)
		cursor = s.Cursor
	}
	return out, nil
}

func (v *View) message(ctx context.Context, r Record) (Message, error) {
	m := Message{Record: r}
	referring, err := v.archive.driver.Records.Referring(ctx, r.Event.ID)
	if err != nil {
		return Message{}, err
	}
	for _, other := range referring {
		switch other.Event.Kind {
		case event.Edit, event.Retraction:
			m.Revisions = append(m.Revisions, other)
		case event.Reaction:
			m.Reactions = append(m.Reactions, other)
		case event.Delivery:
			m.Deliveries = append(m.Deliveries, other)
		case event.VerdictSet:
			m.Verdicts = append(m.Verdicts, other)
		}
	}
	return m, nil
}

func object(what, which string) string {
	if which == "" {
		return what
	}
	return what + " " + which
}

// describe writes a filter for the record of a look.
func describe(f Filter) string {
	out := ""
	add := func(name string, values []string) {
		if len(values) > 0 {
			out += fmt.Sprintf("%s=%q ", name, slices.Compact(slices.Clone(values)))
		}
	}
	add("kind", text(f.Kinds))
	add("who", f.Who)
	add("verdict", text(f.Actions))
	add("rule", f.Rules)
	add("app", f.Apps)
	add("act", f.Acts)
	add("connector", f.Connectors)
	add("room", f.Rooms)
	add("conversation", nonEmpty(f.Conversation))
	if !f.After.IsZero() {
		add("after", []string{f.After.UTC().Format(time.RFC3339)})
	}
	if !f.Before.IsZero() {
		add("before", []string{f.Before.UTC().Format(time.RFC3339)})
	}
	return out
}

func text[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
