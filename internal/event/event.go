// Package event is the one shape of what happened: a message, a flow, a program found, a look at a conversation, an administrator's act.
//
// An Event is what a plane saw, with every name in it. When it becomes a record it is split in two. The Header holds only random ids,
// kinds, times, reason codes and digests, and is what journal, ledger and proofs are made of. The Content holds all that a person typed or
// is called by, and is sealed. So the content can be destroyed and every proof still stands.
//
// Both are written as canonical JSON (Canonical). Golden files fix the bytes of every kind: they cannot change once records exist.
package event

import (
	"context"
	"time"
)

// FormatVersion is the version of the canonical forms of Header and Content.
const FormatVersion = 1

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	Message    Kind = "message"     // first version of a text in a room or to a handle
	Edit       Kind = "edit"        // a later version of the message it refers to
	Retraction Kind = "retraction"  // the message it refers to was taken back
	Reaction   Kind = "reaction"    // an emoji or word set on the message it refers to
	FileUpload Kind = "file"        // a file was uploaded or sent
	Join       Kind = "join"        // a handle entered a room
	Leave      Kind = "leave"       // a handle left a room
	RoomChange Kind = "room-change" // topic, name, membership rules
	Delivery   Kind = "delivery"    // what became of the event it refers to; Phase says it
	Call       Kind = "call"        // voice or video; Phase says it
	FlowSeen   Kind = "flow"        // a network flow
	DNSQuery   Kind = "dns"         // a question to our resolver
	WebRequest Kind = "web"         // a request through our proxy
	ProgramRun Kind = "program"     // a program was asked to run
	FindingHit Kind = "finding"     // a program or file found at rest
	MediaIn    Kind = "media"       // removable media inserted
	VerdictSet Kind = "verdict"     // a verdict on an earlier event changed
	Gap        Kind = "gap"         // nothing was captured from Time to Until
	Act        Kind = "act"         // an administrative act, a look at content included
)

// Phases of Delivery and Call.
const (
	HandedOver    = "handed-over"  // given to the next system
	Acknowledged  = "acknowledged" // that system confirmed it (XEP-0198)
	Received      = "receipt"      // the recipient's client confirmed it (XEP-0184)
	Read          = "read"         // the recipient's client displayed it (XEP-0333)
	Warned        = "warned"       // its sender was told the policy's words
	Failed        = "failed"       // it came back
	CallOffered   = "offered"
	CallAnswered  = "answered"
	CallEnded     = "ended"
	VoiceNotTaken = "voice-not-captured"
)

// Connector is the gateway, sensor or agent that saw an event, as the configuration names it; Source how it came to be known.
const (
	SourceLive    = ""        // as it happened, and in line
	SourceImport  = "import"  // from another system's export
	SourceCapture = "capture" // from a packet capture or a scan
)

// Reason codes: why an event is not an ordinary record (law 3), or why something was not inspected. They are part of the header.
const (
	ReasonOversize    = "oversize"
	ReasonUndecodable = "undecodable"
	ReasonUnknown     = "unknown"
	ReasonLate        = "late"
	ReasonEncrypted   = "encrypted"
	ReasonTooDeep     = "too-deep"
	ReasonBomb        = "bomb"
	ReasonUnreadable  = "unreadable"
	ReasonUnparseable = "unparseable"
	ReasonTimeout     = "timeout"
	ReasonUnavailable = "unavailable"
	ReasonPolicyError = "policy-error"
	ReasonDuplicate   = "duplicate"
	ReasonDisposed    = "disposed"
	ReasonCut         = "journal-cut" // a torn last frame was cut off at start
)

// Event is what a plane saw or did.
type Event struct {
	ID        ID        // UUIDv7; of imports, an HMAC under an install key
	Kind      Kind      //
	Phase     string    // within Delivery and Call; "action.name" of an Act
	Time      time.Time // when it happened, by the source's clock
	Until     time.Time // end of a Gap
	Received  time.Time // when we saw it, by the gateway's clock
	Connector string    // who saw it, as the configuration names it
	Source    string    // SourceLive, SourceImport or SourceCapture
	Room      Room      // where; empty for a direct message
	From      Party     // who; of an Act, the account
	To        []Party   // direct recipients; of a room message, none
	Host      Host      // on which machine
	Refers    ID        // the event this one edits, retracts, reacts to, delivers or judges
	Reason    string    // reason code, when it is not an ordinary record
	Verdict   Verdict   // what policy said
	Content             // what is sealed
}

// Content is the part of an event that is sealed: all that a person typed or is called by.
type Content struct {
	Text        string         `json:"text"`    // what was written; the emoji of a Reaction
	Subject     string         `json:"subject"` // topic of a room, subject of a message
	Native      string         `json:"native"`  // the id on the source system (stanza id)
	NativeRefs  string         `json:"native_refs"`
	Raw         []byte         `json:"raw"` // the original bytes
	Hits        []Hit          `json:"hits"`
	NotChecked  []NotInspected `json:"not_inspected"`
	Files       []File         `json:"files"`
	Flow        *Flow          `json:"flow"`
	Question    *Question      `json:"question"`
	Web         *Web           `json:"web"`
	Program     *Program       `json:"program"`
	CallDetail  *CallDetail    `json:"call"`
	Media       *Media         `json:"media"`
	Act         *ActDetail     `json:"act"`
	Evidence    []Evidence     `json:"evidence"`
	Facts       []Fact         `json:"facts"`    // the state facts that the verdict used, for replay
	Audience    []Party        `json:"audience"` // everyone it would reach at that moment
	Explanation string         `json:"explanation"`
}

// App returns the messenger that an event is about, "" for none.
func (e *Event) App() string {
	switch {
	case e.Flow != nil:
		return e.Flow.App
	case e.Question != nil:
		return e.Question.App
	case e.Web != nil:
		return e.Web.App
	case e.Program != nil:
		return e.Program.App
	}
	return ""
}

// Party is a handle on one system and who stands behind it.
type Party struct {
	ID     string   `json:"id"`     // random id of the handle, given when recorded
	Handle string   `json:"handle"` // as the system names it, e.g. alice@example.org
	Person string   `json:"person"` // who is accountable, "" when unresolved
	Name   string   `json:"name"`   // for display
	Groups []string `json:"groups"` // at that moment
}

// Room is a conversation of more than two, on one connector.
type Room struct {
	ID          string `json:"id"`   // random id, given when recorded
	Name        string `json:"name"` // immutable id on its system, e.g. desk@rooms.example.org
	Incarnation string `json:"incarnation"`
}

// Host is a machine.
type Host struct {
	ID      string `json:"id"` // random id, given when recorded
	Name    string `json:"name"`
	Address string `json:"address"`
	Person  string `json:"person"` // whose machine it is, "" when unknown
}

// Confidence is a probability in thousandths, so that canonical bytes hold no floats.
type Confidence int

// The four strengths a catalog fact can have.
const (
	Low    Confidence = 500
	Medium Confidence = 800
	High   Confidence = 950
	Exact  Confidence = 990
)

// Float returns the confidence as a number from 0 to 1.
func (c Confidence) Float() float64 { return float64(c) / 1000 }

// Evidence is one fact that speaks for a recognition.
type Evidence struct {
	Fact     string     `json:"fact"`     // id of the catalog fact or rule of the recogniser
	Value    string     `json:"value"`    // what was seen
	Strength Confidence `json:"strength"` // of this fact alone
	Source   string     `json:"source"`   // where the fact is from
}

// EvidenceLine is evidence as the command line prints it with --json: the strength is a number from 0 to 1. Its names are API.
type EvidenceLine struct {
	Fact     string  `json:"fact"`
	Value    string  `json:"value"`
	Strength float64 `json:"strength"`
	Source   string  `json:"source,omitempty"`
}

// AppendEvidenceLines appends the lines of evidence to a slice.
func AppendEvidenceLines(lines []EvidenceLine, evidence []Evidence) []EvidenceLine {
	for _, e := range evidence {
		lines = append(lines, EvidenceLine{e.Fact, e.Value, e.Strength.Float(), e.Source})
	}
	return lines
}

// Hit is what an inspector found in a text or a file.
type Hit struct {
	Inspector  string     `json:"inspector"`
	Name       string     `json:"name"` // of the lexicon, pattern or signature
	Count      int        `json:"count"`
	Confidence Confidence `json:"confidence"`
	Spans      []Span     `json:"spans"`             // in code points of the text; none for files
	File       string     `json:"file"`              // path within the upload, "" for the text itself
	Version    string     `json:"version"`           // of detector and database
	Earlier    bool       `json:"earlier,omitempty"` // it begins in what the same person wrote there before
}

// Span is a half-open range [Start, End) in code points.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// NotInspected says that an inspector could not look into something, and why.
type NotInspected struct {
	Inspector string `json:"inspector"`
	Reason    string `json:"reason"`
	File      string `json:"file"`
	Version   string `json:"version"`
}

// File is a file that was uploaded, sent or named.
type File struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // by content, as a media type
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex, of the content
	Object string `json:"object"` // random name of the sealed object
	Sealed string `json:"sealed"` // hex SHA-256 of the sealed object
	Key    []byte `json:"key"`    // its own random key
	URL    string `json:"url"`
}

// Flow is a network flow: a five-tuple, both directions together.
type Flow struct {
	Proto            string `json:"proto"`  // tcp, udp, sctp or icmp
	Client           string `json:"client"` // ip:port of the sender of the first packet
	Server           string `json:"server"`
	App              string `json:"app"`     // catalog id, "" when it is no messenger or unknown
	Service          string `json:"service"` // call, chat, login, …
	Name             string `json:"name"`    // SNI, Host or the DNS name tied to the server's address
	JA4              string `json:"ja4"`
	ALPN             string `json:"alpn"`
	Packets          int64  `json:"packets"`
	Bytes            int64  `json:"bytes"`
	PacketsToVerdict int64  `json:"packets_to_verdict"`
	Revised          bool   `json:"revised"`
	Capture          string `json:"capture"`

	Confidence Confidence `json:"confidence"`
}

// Question is a question to our resolver.
type Question struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Answers []string `json:"answers"`
	App     string   `json:"app"`
	Client  string   `json:"client"`
}

// Web is a request through our proxy.
type Web struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Status int    `json:"status"`
	App    string `json:"app"`
}

// Program is a file that is or carries a program.
type Program struct {
	Path       string     `json:"path"`
	Inside     string     `json:"inside"` // path within nested archives, levels joined by "!/"
	App        string     `json:"app"`
	Form       string     `json:"form"` // client, installer, package, …
	Format     string     `json:"format"`
	Version    string     `json:"version"`
	Publisher  string     `json:"publisher"`
	SHA256     string     `json:"sha256"`
	Size       int64      `json:"size"`
	Owner      string     `json:"owner"`
	Media      string     `json:"media"` // removable, fixed or ""
	Confidence Confidence `json:"confidence"`
}

// CallDetail is what is known of a voice or video call.
type CallDetail struct {
	Parties []Party `json:"parties"`
	Media   string  `json:"media"`   // audio, video
	Seconds int64   `json:"seconds"` // at its end
}

// Media is a removable medium.
type Media struct {
	Device string `json:"device"`
	Serial string `json:"serial"`
	Label  string `json:"label"`
	Mount  string `json:"mount"`
}

// ActDetail is an administrative act.
type ActDetail struct {
	Action  string `json:"action"`  // e.g. "content.read", "hold.place"
	Object  string `json:"object"`  // what it was done to
	Purpose string `json:"purpose"` // why, of those that read content
	Details []Fact `json:"details"`
}

// Fact is a named value.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Recorder makes events durable records. When it returns nil they survive power loss.
type Recorder interface {
	Record(ctx context.Context, events ...*Event) error
}

// Observer takes observations: allowed or unknown flows, questions and runs. It never blocks; when its ring is full it drops and counts.
type Observer interface {
	Observe(e *Event)
}
