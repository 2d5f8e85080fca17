package policy

import "time"

// vars are the variables of expressions. Each field's cel tag is its name in the language, its doc tag the reference.
type vars struct {
	Event        eventVar          `cel:"event" doc:"What happened."`
	Text         string            `cel:"text" doc:"What is written; the emoji of a reaction."`
	Sender       partyVar          `cel:"sender" doc:"Who it is from."`
	Audience     []partyVar        `cel:"audience" doc:"Everybody it would reach, direct recipients included."`
	Room         string            `cel:"room" doc:"Name of the room, empty for a direct message."`
	App          string            `cel:"app" doc:"Messenger by its id in the catalog, empty when none is recognised."`
	Confidence   float64           `cel:"confidence" doc:"How surely the messenger is recognised, 0 to 1: 0.5 by an address or port alone, 0.8, 0.95, 0.99."`
	Service      string            `cel:"service" doc:"Phase of the messenger: call, chat, login …; empty when it is not known."`
	Files        []attachmentVar   `cel:"files" doc:"Files that come with it."`
	Hits         []hitVar          `cel:"hits" doc:"What inspectors found."`
	NotInspected []notInspectedVar `cel:"not_inspected" doc:"What inspectors could not look into, and why."`
	LeavesOrg    bool              `cel:"leaves_org" doc:"Whether it reaches anybody outside the organisation."`
}

// eventVar is event.Event as expressions see it.
type eventVar struct {
	Kind      string      `cel:"kind" doc:"message, edit, retraction, reaction, file, join, leave, room-change, call, flow, dns, web, program, finding, media."`
	Phase     string      `cel:"phase" doc:"Phase of a call."`
	Time      time.Time   `cel:"time" doc:"When it happened."`
	Connector string      `cel:"connector" doc:"Gateway, sensor or agent that saw it."`
	Source    string      `cel:"source" doc:"Empty when live; import or capture."`
	Subject   string      `cel:"subject" doc:"Topic or subject."`
	Host      hostVar     `cel:"host" doc:"Machine."`
	Flow      flowVar     `cel:"flow" doc:"Network flow."`
	Question  questionVar `cel:"question" doc:"Question to the resolver."`
	Web       webVar      `cel:"web" doc:"Request through the proxy."`
	Program   programVar  `cel:"program" doc:"Program or file on a machine."`
}

// partyVar is a handle and who stands behind it.
type partyVar struct {
	Handle   string   `cel:"handle" doc:"Name on its system."`
	Person   string   `cel:"person" doc:"Who is accountable, empty when unresolved."`
	Groups   []string `cel:"groups" doc:"Groups by the people directory."`
	Internal bool     `cel:"internal" doc:"Whether it belongs to the organisation."`
}

// hostVar is a machine.
type hostVar struct {
	Name    string `cel:"name" doc:"Name."`
	Address string `cel:"address" doc:"Address."`
	Person  string `cel:"person" doc:"Whose machine it is."`
}

// flowVar is a network flow.
type flowVar struct {
	Proto   string `cel:"proto" doc:"tcp, udp, sctp or icmp."`
	Client  string `cel:"client" doc:"address:port."`
	Server  string `cel:"server" doc:"address:port."`
	Name    string `cel:"name" doc:"Host name."`
	Service string `cel:"service" doc:"call, chat, login …"`
	JA4     string `cel:"ja4" doc:"JA4 of the client."`
	ALPN    string `cel:"alpn" doc:"ALPN."`
	Packets int64  `cel:"packets" doc:"Packets so far."`
	Bytes   int64  `cel:"bytes" doc:"Bytes so far."`
}

// questionVar is a question to the resolver.
type questionVar struct {
	Name   string `cel:"name" doc:"Name asked for."`
	Type   string `cel:"type" doc:"Type of record."`
	Client string `cel:"client" doc:"Who asks."`
}

// webVar is a request through the proxy.
type webVar struct {
	Method string `cel:"method" doc:"Method."`
	URL    string `cel:"url" doc:"URL."`
}

// programVar is a program or file on a machine.
type programVar struct {
	Path      string `cel:"path" doc:"Path."`
	Form      string `cel:"form" doc:"client, installer, package …"`
	Format    string `cel:"format" doc:"pe, msi, elf, deb …"`
	Version   string `cel:"version" doc:"Version."`
	Publisher string `cel:"publisher" doc:"Subject of its signature."`
	SHA256    string `cel:"sha256" doc:"Hash."`
	Size      int64  `cel:"size" doc:"Bytes."`
	Media     string `cel:"media" doc:"removable, fixed or empty."`
}

// attachmentVar is a file that comes with a message.
type attachmentVar struct {
	Name   string `cel:"name" doc:"Name."`
	Type   string `cel:"type" doc:"Media type by content."`
	Size   int64  `cel:"size" doc:"Bytes."`
	SHA256 string `cel:"sha256" doc:"Hash."`
}

// hitVar is what an inspector found.
type hitVar struct {
	Inspector  string    `cel:"inspector" doc:"lexicon, pattern, filetype, malware …"`
	Name       string    `cel:"name" doc:"Name of the lexicon, pattern or signature."`
	Count      int       `cel:"count" doc:"How often."`
	Confidence float64   `cel:"confidence" doc:"0 to 1."`
	Spans      []spanVar `cel:"spans" doc:"Where in the text, in code points."`
	File       string    `cel:"file" doc:"In which file, empty for the text."`
	Earlier    bool      `cel:"earlier" doc:"Whether it begins in what the same person wrote there up to two minutes before."`
}

// spanVar is a half-open range in code points.
type spanVar struct {
	Start int `cel:"start" doc:"First."`
	End   int `cel:"end" doc:"After the last."`
}

// notInspectedVar is what an inspector could not look into.
type notInspectedVar struct {
	Inspector string `cel:"inspector" doc:"Which inspector."`
	Reason    string `cel:"reason" doc:"encrypted, oversize, timeout, unavailable, unparseable, policy-error …"`
	File      string `cel:"file" doc:"Which file, empty for the text."`
}
