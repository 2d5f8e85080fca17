package archive

import (
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Record is one event of the record, as it stands now.
type Record struct {
	Event    *event.Event // raw bytes and file keys left out; when Erased only what the header says
	Action   event.Action // the verdict in force: that of the event, or of the latest verdict on it
	Rule     string       // the rule of the verdict in force
	Erased   bool         // the content was destroyed
	KeyLost  bool         // the content is there and cannot be read: its key is missing, or damaged. The event is what the header says
	Position journal.Position
}

// Page asks for a part of a list. The zero Page is the first part, of DefaultLimit items.
type Page struct {
	Cursor string // Next of the part before; "" for the first
	Limit  int    // at most MaxLimit; 0 means DefaultLimit
}

// Limits of a Page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Size returns the limit in force.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultLimit
	case p.Limit > MaxLimit:
		return MaxLimit
	}
	return p.Limit
}

// Part is one part of a list. Next is the cursor of the part after it, "" at the end.
type Part[T any] struct {
	Items []T
	Next  string
}

// Filter selects records. Empty fields select all; the values within a list are alternatives, the fields all hold.
type Filter struct {
	Kinds        []event.Kind   // none means every kind but act and delivery
	Who          []string       // a person, a handle, a host name, an address, or an id of one of them
	Actions      []event.Action // verdict in force
	Rules        []string
	Apps         []string
	Acts         []string // ActDetail.Action, of acts
	Connectors   []string
	Rooms        []string // names or ids
	Conversation string   // id of a Conversation
	After        time.Time
	Before       time.Time
	OldestFirst  bool // else newest first; within one moment by id
}

// Conversation is a room, or what two handles write to each other.
type Conversation struct {
	ID        string // stable: "room:" and the room's id, or "direct:" and the two handles' ids
	Connector string
	Room      string   // name of the room, "" of a direct conversation
	Handles   []string // of a direct conversation
	First     time.Time
	Last      time.Time
	Messages  int // first versions, not edits
	Stopped   int // records that policy kept from their recipients
}

// ConversationOf returns the id of the conversation that an event belongs to, "" when it belongs to none.
func ConversationOf(e *event.Event) string {
	switch {
	case e.Room.ID != "":
		return "room:" + e.Room.ID
	case e.From.ID != "" && len(e.To) == 1 && e.To[0].ID != "" && Conversational(e.Kind):
		return "direct:" + min(e.From.ID, e.To[0].ID) + "+" + max(e.From.ID, e.To[0].ID)
	}
	return ""
}

// Conversational reports whether events of a kind are parts of conversations.
func Conversational(k event.Kind) bool {
	switch k {
	case event.Message, event.Edit, event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange, event.Call,
		event.Delivery, event.Gap, event.VerdictSet:
		return true
	}
	return false
}

// Message is one message with all that became of it.
type Message struct {
	Record
	Revisions  []Record // edits and retractions, oldest first, each with its verdict
	Reactions  []Record
	Deliveries []Record
	Verdicts   []Record // verdicts that came later
}

// Retracted reports whether the message was taken back.
func (m Message) Retracted() bool {
	for _, r := range m.Revisions {
		if r.Event.Kind == event.Retraction {
			return true
		}
	}
	return false
}

// Handle is a name on one system, bound to a person for as long as records show it.
type Handle struct {
	ID        string
	Connector string
	Handle    string
	Name      string // for display
	Person    string // "" when unresolved
	First     time.Time
	Last      time.Time
	Records   int
}

// Host is a machine, by one name, address and person; a machine that changed hands is several.
type Host struct {
	ID      string
	Name    string
	Address string
	Person  string
	First   time.Time
	Last    time.Time
	Records int
}

// Person is who is accountable: the handles and hosts that are or were theirs.
type Person struct {
	ID      string
	Handles []Handle
	Hosts   []Host
	First   time.Time
	Last    time.Time
	Records int
}

// Sighting is one messenger on one host and person, network and endpoint together.
type Sighting struct {
	App        string
	Host       Host
	Person     string
	Network    int // records of flows, questions and requests
	Endpoint   int // records of programs and findings
	First      time.Time
	Last       time.Time
	Confidence event.Confidence // the highest
	Action     event.Action     // verdict of the latest
	Rule       string
}

// SightingFilter selects sightings.
type SightingFilter struct {
	App    string
	Host   string // name, address or id
	Person string
}

// DayCount is how many records of a kind got a verdict on one day (UTC).
type DayCount struct {
	Day     string // 2006-01-02
	Kind    event.Kind
	Action  event.Action
	Records int
}

// Capture is the account of one connector, room and day (law 3): seen = stored + excluded + quarantined.
type Capture struct {
	Day         string
	Connector   string
	Room        string // id
	Stored      int
	Excluded    map[string]int // by reason
	Quarantined map[string]int // by reason
}

// Seen is how many events the connector saw: the sum of all that became of them.
func (c Capture) Seen() int {
	n := c.Stored
	for _, k := range c.Excluded {
		n += k
	}
	for _, k := range c.Quarantined {
		n += k
	}
	return n
}

// AppCount sums the sightings of one messenger, without names.
type AppCount struct {
	App     string
	Hosts   int
	People  int
	Records int
	Blocked int // sightings whose latest verdict stops it
	First   time.Time
	Last    time.Time
}

// Lag is how far the projections stand behind the journal.
type Lag struct {
	Frames uint64 // durable, not yet applied
	Behind time.Duration
}
