package policy

// File is a policy file as it is written. Parse reads it, Compile makes a Policy of it. The doc tags are the reference page.
type File struct {
	Version   int                `yaml:"version" doc:"Version of the language. Must be 1."`
	Mode      Modes              `yaml:"mode" doc:"enforce or monitor, for all planes or by plane: {network, programs, messages}. In monitor mode the verdict is recorded but not carried out. Default enforce."`
	Timezone  string             `yaml:"timezone" doc:"Time zone of hours and until, by its IANA name. Default UTC."`
	Internal  List               `yaml:"internal" doc:"Domains (with all below them) and handles of the organisation. Whatever reaches anybody else leaves it (leaves_org)."`
	Groups    map[string]Group   `yaml:"groups" doc:"Who belongs together. A group with nothing in it has the members that the people directory gives it."`
	Rules     []Rule             `yaml:"rules" doc:"The rules, in order: the first that matches and has a verdict decides."`
	Otherwise Otherwise          `yaml:"otherwise" doc:"The verdict where no rule decides, by plane."`
	Packs     List               `yaml:"packs" doc:"Shipped lexicons and patterns to use: pii, venue, secrets."`
	Patterns  map[string]Pattern `yaml:"patterns" doc:"Own patterns by the name of their hit."`
	Lexicons  map[string]Lexicon `yaml:"lexicons" doc:"Own lexicons by the name of their hit."`
	Clients   map[string]Client  `yaml:"clients" doc:"Settings of messengers that are approved, by their id in the catalog: who may sign in where. They are for policy export; no plane decides by them."`
	Decrypt   Decrypt            `yaml:"decrypt" doc:"What the proxy may open. All else is passed through unopened."`
	Retention []Retention        `yaml:"retention" doc:"Retention classes. The longest matching one wins."`
	Tests     []Test             `yaml:"tests" doc:"Cases that chaperone policy test runs."`

	name   string
	source []byte
	places *places
}

// Rule is one rule. All its matchers must hold. It has a verdict, obligations, or both.
type Rule struct {
	ID         string   `yaml:"id" doc:"Name of the rule, unique; it is in every verdict and record."`
	Apps       List     `yaml:"apps" doc:"Messengers by their id in the catalog; * is any."`
	Confidence string   `yaml:"confidence" doc:"How sure the recognition must be for apps to match: low (0.5), medium (0.8), high (0.95) or exact (0.99). Default medium where the verdict is block, hold or quarantine, so that an address or a port alone never stops anything; else any. A name that is asked for is always exact."`
	Service    List     `yaml:"service" doc:"Phase of the messenger: call, chat, login, download, web …"`
	Names      List     `yaml:"names" doc:"Host names; *.example.com covers every name below example.com, * every name."`
	Addresses  List     `yaml:"addresses" doc:"Addresses or prefixes of the server."`
	Ports      List     `yaml:"ports" doc:"Ports of the server: numbers or ranges such as 5060-5070."`
	Protocols  List     `yaml:"protocols" doc:"Protocols: tcp, udp, dns, dot, doh, doq, ntp, tls, quic, http, stun, xmpp, irc …"`
	Programs   Programs `yaml:"programs" doc:"Programs and files on machines, by any of their properties (all given must hold)."`
	Rooms      List     `yaml:"rooms" doc:"Rooms by name; * stands for any characters."`
	Messages   string   `yaml:"messages" doc:"Expression (CEL) over a message or file of a conversation."`
	When       string   `yaml:"when" doc:"Expression (CEL) over any event."`
	Groups     List     `yaml:"groups" doc:"Who: the rule holds for members of any of these groups; for a message, its sender or anybody it reaches."`
	Hours      List     `yaml:"hours" doc:"When: such as Mon-Fri 07:00-20:00, in the policy's time zone. A span that passes midnight belongs to the day it begins."`
	Until      string   `yaml:"until" doc:"The rule ends with this day (2027-01-31), or at this moment (RFC 3339)."`
	Verdict    string   `yaml:"verdict" doc:"allow, hold, quarantine or block. Ends the search. Messages can be allowed and blocked: hold and quarantine are refused there until something can release them. On the network, the resolver stops questions; flows are seen, not stopped. On machines, scan acts on what stops only when told to."`
	Redact     string   `yaml:"redact" doc:"Obligation: the spans of this hit (* for all hits) must not be delivered. Gateways do not rewrite messages yet: policy check refuses it."`
	Warn       string   `yaml:"warn" doc:"Obligation: the message is delivered, and its sender gets these words from the gateway. On the network and on machines they are put on record only. The search goes on."`
	Review     string   `yaml:"review" doc:"Obligation: put the record under this review queue; search finds it. The search goes on."`
	Alert      string   `yaml:"alert" doc:"Obligation: an alert goes out once the record is durable, by the channels of the route of that name in the configuration (alerts.routes); by every channel where the configuration has no routes. The search goes on."`
	Say        string   `yaml:"say" doc:"Words for the person whose message, question or program was stopped."`
	Reason     string   `yaml:"reason" doc:"Why the rule is there; kept with each verdict."`
	Mode       string   `yaml:"mode" doc:"enforce or monitor, for this rule."`
}

// Group is a set of people, networks and machines.
type Group struct {
	People   List   `yaml:"people" doc:"People or handles; * stands for any characters."`
	Networks List   `yaml:"networks" doc:"Address ranges of their machines."`
	Hosts    List   `yaml:"hosts" doc:"Machines by name; * stands for any characters."`
	Mode     string `yaml:"mode" doc:"enforce or monitor, for members of this group."`
}

// Programs matches files and programs on machines.
type Programs struct {
	SHA256    List `yaml:"sha256" doc:"SHA-256 of the file, 64 hexadecimal digits."`
	Media     List `yaml:"media" doc:"Where it lies: removable or fixed."`
	Publisher List `yaml:"publisher" doc:"Subject of its signature; * stands for any characters."`
	Format    List `yaml:"format" doc:"Format: pe, msi, elf, deb, rpm, …"`
	Form      List `yaml:"form" doc:"Form: client, installer, package, …"`
	Paths     List `yaml:"paths" doc:"Path; * stands for any characters. A path alone never proves what a program is."`
}

// Modes is enforce or monitor for each plane. In YAML one word for all, or a mapping.
type Modes struct {
	Network  string `yaml:"network" doc:"Mode of the network plane."`
	Programs string `yaml:"programs" doc:"Mode of the endpoint plane."`
	Messages string `yaml:"messages" doc:"Mode of the conversation plane."`
}

// Otherwise is the verdict where no rule decides.
type Otherwise struct {
	Network      string `yaml:"network" doc:"Of flows, questions and requests. Default block."`
	Programs     string `yaml:"programs" doc:"Of programs and files on machines. Default allow."`
	Messages     string `yaml:"messages" doc:"Of messages and their files. Default allow."`
	NotInspected string `yaml:"not_inspected" doc:"Of messages and files that could not be inspected. Default block."`
}

// Pattern is a regular expression with an optional check of what it matched.
type Pattern struct {
	Regex string `yaml:"regex" doc:"Regular expression (RE2)."`
	Check string `yaml:"check" doc:"none, luhn, card, iban or ssn."`
}

// Lexicon is a list of words, phrases and words near each other.
type Lexicon struct {
	Words List   `yaml:"words" doc:"Words or phrases; case, accents, look-alike letters and invisible characters do not matter."`
	Near  []Near `yaml:"near" doc:"Words that must stand near each other."`
}

// Near is a list of terms that must all occur within a number of words.
type Near struct {
	Terms  List `yaml:"terms" doc:"The terms, in any order."`
	Within int  `yaml:"within" doc:"At most this many words from the first to the last."`
}

// Decrypt says what the proxy may open.
type Decrypt struct {
	Names List `yaml:"names" doc:"Host names to open."`
	Never List `yaml:"never" doc:"Categories or host names never to open."`
}

// Retention is a retention class.
type Retention struct {
	ID       string `yaml:"id" doc:"Name of the class."`
	Days     int    `yaml:"days" doc:"How long a record is kept."`
	Erasable string `yaml:"erasable" doc:"no, or request: two people may erase a record before its time, with a certificate."`
	Kinds    List   `yaml:"kinds" doc:"Kinds of events it is for; none is all."`
	Groups   List   `yaml:"groups" doc:"Groups whose records it is for; none is all."`
	Rooms    List   `yaml:"rooms" doc:"Rooms it is for; none is all."`
}

// Test is a case of policy test: one of message, flow, question, web, program, and what must come of it.
type Test struct {
	Message  *TestMessage  `yaml:"message" doc:"A message or file."`
	Flow     *TestFlow     `yaml:"flow" doc:"A network flow."`
	Question *TestQuestion `yaml:"question" doc:"A question to the resolver."`
	Program  *TestProgram  `yaml:"program" doc:"A program or file on a machine."`
	At       string        `yaml:"at" doc:"When (RFC 3339). Default 2026-01-05T10:00:00Z, a Monday."`
	Verdict  string        `yaml:"verdict" doc:"The verdict that must come."`
	Rule     string        `yaml:"rule" doc:"The rule that must decide; otherwise where none does."`
	Also     List          `yaml:"also" doc:"Obligations that must come, as kind:rule."`
}

// TestMessage is a message of a test.
type TestMessage struct {
	Text         string `yaml:"text" doc:"What is written; inspected with the policy's packs, patterns and lexicons."`
	From         string `yaml:"from" doc:"Handle of the sender."`
	To           List   `yaml:"to" doc:"Handles it goes to."`
	Room         string `yaml:"room" doc:"Room it is in."`
	File         string `yaml:"file" doc:"Name of a file that comes with it."`
	Kind         string `yaml:"kind" doc:"message (default), edit, reaction, file, join …"`
	Hits         List   `yaml:"hits" doc:"Hits that inspectors found, beside those in the text, as name or inspector/name."`
	NotInspected List   `yaml:"not_inspected" doc:"Reasons why something in it was not inspected."`
}

// TestFlow is a network flow of a test.
type TestFlow struct {
	App        string `yaml:"app" doc:"Messenger it was recognised as."`
	Confidence string `yaml:"confidence" doc:"How surely: low, medium, high or exact (default)."`
	Service    string `yaml:"service" doc:"Phase."`
	Name       string `yaml:"name" doc:"Host name."`
	Server     string `yaml:"server" doc:"address:port."`
	Client     string `yaml:"client" doc:"address:port."`
	Proto      string `yaml:"proto" doc:"tcp (default), udp …"`
	Protocol   string `yaml:"protocol" doc:"Recognised protocol, such as tls."`
	Person     string `yaml:"person" doc:"Who."`
	Host       string `yaml:"host" doc:"Which machine."`
	Pending    bool   `yaml:"pending" doc:"Whether the recogniser may still tell more."`
}

// TestQuestion is a question to the resolver of a test.
type TestQuestion struct {
	Name   string `yaml:"name" doc:"The name asked for."`
	App    string `yaml:"app" doc:"Messenger it belongs to; found in the catalog when absent."`
	Client string `yaml:"client" doc:"Address of who asks."`
	Person string `yaml:"person" doc:"Who."`
	Host   string `yaml:"host" doc:"Which machine."`
}

// TestProgram is a program of a test.
type TestProgram struct {
	App        string `yaml:"app" doc:"Messenger it was recognised as."`
	Confidence string `yaml:"confidence" doc:"How surely: low, medium, high or exact (default)."`
	SHA256     string `yaml:"sha256" doc:"Its hash."`
	Publisher  string `yaml:"publisher" doc:"Subject of its signature."`
	Format     string `yaml:"format" doc:"Its format."`
	Form       string `yaml:"form" doc:"Its form."`
	Media      string `yaml:"media" doc:"removable or fixed."`
	Path       string `yaml:"path" doc:"Its path."`
	Person     string `yaml:"person" doc:"Whose machine."`
	Host       string `yaml:"host" doc:"Which machine."`
}
