// Package config reads the one configuration file, chaperone.yaml. Keys are strict: an unknown one is an error with its line. Every part is
// optional, and what is not configured does not run. Secrets are references to files or the environment, never values.
//
// Each field's doc tag is the reference: `chaperone config describe` and docs/reference/config.md are printed from it.
package config

import "time"

// Config is chaperone.yaml.
type Config struct {
	DataDir    string     `yaml:"data_dir" doc:"Folder of journal, ledger, keys and projections. Relative to the configuration file. Default ./data."`
	Policy     string     `yaml:"policy" doc:"The policy file. Without it the embedded quickstart policy applies."`
	Catalog    Catalog    `yaml:"catalog" doc:"Where newer catalogs of messengers come from, and who must have signed them."`
	People     People     `yaml:"people" doc:"Who stands behind handles, hosts and addresses."`
	Keys       Keys       `yaml:"keys" doc:"Where the keys are and how the reading role unlocks its own."`
	Ledger     Ledger     `yaml:"ledger" doc:"Where checkpoints go, out of the administrator's reach."`
	Console    Console    `yaml:"console" doc:"The web console."`
	Pseudonyms Pseudonyms `yaml:"pseudonyms" doc:"Where readers see pseudonyms in the place of names, until they name somebody or ask for a name."`
	Gateways   []Gateway  `yaml:"gateways" doc:"Connectors in line with conversation systems."`
	Network    Network    `yaml:"network" doc:"The network plane."`
	Fleet      Fleet      `yaml:"fleet" doc:"The server of a fleet of agents."`
	Santa      Santa      `yaml:"santa" doc:"The sync server of machines with Santa (macOS)."`
	Inspectors Inspectors `yaml:"inspectors" doc:"Content inspectors that need a service."`
	Alerts     Alerts     `yaml:"alerts" doc:"Who is told, and how."`
	Metrics    Metrics    `yaml:"metrics" doc:"Prometheus metrics and health over HTTP."`
	Endpoint   Endpoint   `yaml:"endpoint" doc:"What other enforcers of the endpoint tell."`
	Agent      Agent      `yaml:"agent" doc:"What chaperone agent does on this machine."`
	Purpose    string     `yaml:"purpose" doc:"Default purpose of commands that read content. Without it they ask for --purpose."`

	Observations Observations `yaml:"observations" doc:"What was seen and allowed, or is unknown: no records."`

	Dir string `yaml:"-"` // folder of the file, which relative paths start from
}

// Agent configures execution control on the machine that reads this file.
type Agent struct {
	Mode      string        `yaml:"mode" doc:"deny-list (default): what policy forbids does not start. monitor: it starts and is recorded. learn: nothing is stopped, and what lockdown would stop is recorded, for the proposals of chaperone fleet learned. lockdown: only programs that a package brought, or that were approved, start."`
	Removable string        `yaml:"removable" doc:"deny (default): programs on removable media start only where a rule or an exception allows them. policy: they are judged as all others."`
	Server    string        `yaml:"server" doc:"The server of the fleet that this machine belongs to, as https://chaperone.example.org:8444. Then the fleet's policy is in force once it has come, and what is found goes there: see chaperone fleet agent."`
	Harden    []string      `yaml:"harden" doc:"Settings of this machine that close ways around the agent and are wanted here: memfd, namespaces, media, programs. chaperone agent harden --apply configured applies them; doctor warns of those that are not."`
	Logs      []EnforcerLog `yaml:"logs" doc:"Logs of other enforcers on this machine, which chaperone fleet agent hands up."`
	Socket    string        `yaml:"socket" doc:"Socket at which people ask the agent. Default /run/chaperone/agent.sock."`
	Update    AgentUpdate   `yaml:"update" doc:"Releases of this program that the fleet's server offers."`
	Secret    string        `yaml:"secret" doc:"Where the secret of codes for exceptions is: file:PATH, env:NAME or credential:NAME. Without it no code is taken."`
}

// AgentUpdate says which releases of this program a machine takes.
type AgentUpdate struct {
	Key string `yaml:"key" doc:"Verifier of the key that signs releases, as chaperone fleet release key prints it. Without it every release that is offered is refused, whoever signed it."`
}

// Endpoint says what of other enforcers is read.
type Endpoint struct {
	Logs []EnforcerLog `yaml:"logs" doc:"Logs in which other enforcers say what they stopped, of many machines, as a collector of syslog or Windows events writes them."`
}

// EnforcerLog is the log of another enforcer.
type EnforcerLog struct {
	Format string `yaml:"format" doc:"fapolicyd, santa, or windows: events of AppLocker and App Control, one a line, in XML or JSON."`
	Path   string `yaml:"path" doc:"The file. It is followed across rotation and restarts."`
}

// Catalog says where newer catalogs come from.
type Catalog struct {
	Keys     []string      `yaml:"keys" doc:"Verifiers of the keys that may sign bundles, as chaperone catalog keygen prints them. Without one no bundle is accepted."`
	Source   string        `yaml:"source" doc:"File or https address of the newest bundle. Without it bundles come by chaperone catalog fetch."`
	Interval time.Duration `yaml:"interval" doc:"How often the source is asked; a new bundle goes into shadow by itself. Default 24h."`
	Canary   string        `yaml:"canary" doc:"Group of the policy for which a new catalog acts before it acts for all."`
	MaxStops float64       `yaml:"max_new_stops" doc:"Share of flows and questions that a new catalog may newly stop in its first hour; beyond it is taken back. Default 0.02."`
	Stale    time.Duration `yaml:"stale" doc:"Age from which the catalog in force is a degraded health item. Default 4320h, half a year."`
}

// People says where identities come from.
type People struct {
	CSV string `yaml:"csv" doc:"File with the columns person, name, handle, host, address, from, to and groups."`
}

// Keys says where keys are.
type Keys struct {
	Dir        string   `yaml:"dir" doc:"Folder of the keys. Default keys below data_dir."`
	Compliance []string `yaml:"compliance" doc:"Public keys that records are sealed to."`
	Unlock     string   `yaml:"unlock" doc:"Where the passphrase of the compliance key is: file:PATH, env:NAME or credential:NAME. Without it this process seals and cannot read."`
}

// Ledger says where checkpoints go.
type Ledger struct {
	Origin      string        `yaml:"origin" doc:"Name of this log in its checkpoints. Default chaperone/ and the id of this installation."`
	VerifyEvery time.Duration `yaml:"verify_every" doc:"How often serve verifies the whole record by itself, as chaperone verify does; the first turn comes a minute after the start when one is due. Default 24h; a negative value turns it off."`
	Checkpoints []string      `yaml:"checkpoints" doc:"Recipients outside: file:/folder, an https address, syslog:udp://host:port, mailto:name@domain (by the server of alerts.mail, each 15 minutes at most)."`
}

// Console configures the web console.
type Console struct {
	Listen      string   `yaml:"listen" doc:"Address, e.g. 127.0.0.1:8443. Without it there is no console."`
	Certificate string   `yaml:"certificate" doc:"PEM file. Without it a self-signed one is made in the keys folder."`
	Key         string   `yaml:"key" doc:"PEM file of the certificate's key."`
	Purposes    []string `yaml:"purposes" doc:"Reasons to read content that the console offers; nobody reads there for another. Default: six of them."`
}

// Pseudonyms says where readers see pseudonyms.
type Pseudonyms struct {
	Console     *bool `yaml:"console" doc:"On the pages of the console. Default true."`
	CommandLine *bool `yaml:"command_line" doc:"In what search, person and the like print. Default false: what counsel produces names people."`
}

// InConsole reports whether the console shows pseudonyms.
func (p Pseudonyms) InConsole() bool { return p.Console == nil || *p.Console }

// OnCommandLine reports whether commands print pseudonyms.
func (p Pseudonyms) OnCommandLine() bool { return p.CommandLine != nil && *p.CommandLine }

// Gateway is one connector.
type Gateway struct {
	ID        string    `yaml:"id" doc:"Name of the connector, in every record."`
	Kind      string    `yaml:"kind" doc:"xmpp."`
	Domain    string    `yaml:"domain" doc:"The domain it serves."`
	Listen    []Listen  `yaml:"listen" doc:"Addresses that clients connect to."`
	Upstream  Upstream  `yaml:"upstream" doc:"The real server."`
	Uploads   *Uploads  `yaml:"uploads" doc:"HTTP file upload (XEP-0363) through the gateway."`
	OnFailure string    `yaml:"on_failure" doc:"closed (default) refuses what cannot be recorded; open delivers and spools it."`
	Limits    XMPPLimit `yaml:"limits" doc:"Bounds on what clients may send."`
}

// Listen is one listening address of a gateway.
type Listen struct {
	Address     string `yaml:"address" doc:"host:port."`
	TLS         string `yaml:"tls" doc:"starttls (default), direct, or off (only on loopback)."`
	Certificate string `yaml:"certificate" doc:"PEM file."`
	Key         string `yaml:"key" doc:"PEM file."`
}

// Upstream is the real server behind a gateway.
type Upstream struct {
	Address string `yaml:"address" doc:"host:port."`
	TLS     string `yaml:"tls" doc:"starttls (default), direct, or off (only on loopback)."`
	CA      string `yaml:"ca" doc:"PEM file of the authority that signed the server's certificate. Default: the system's."`
}

// Uploads configures file uploads.
type Uploads struct {
	Listen      string `yaml:"listen" doc:"host:port of our HTTPS listener."`
	Upstream    string `yaml:"upstream" doc:"Base address of the real upload service."`
	Public      string `yaml:"public" doc:"Base address that clients are given. Default https://, the domain and the listener's port."`
	Certificate string `yaml:"certificate" doc:"PEM file. Default: that of the first listener."`
	Key         string `yaml:"key" doc:"PEM file."`
	MaxBytes    int64  `yaml:"max_bytes" doc:"Largest file. Default 104857600."`
}

// XMPPLimit bounds stanzas.
type XMPPLimit struct {
	Stanza int `yaml:"stanza" doc:"Bytes of one stanza. Default 262144."`
	Depth  int `yaml:"depth" doc:"Nesting of one stanza. Default 64."`
}

// Network configures the network plane.
type Network struct {
	Sensors  []Sensor  `yaml:"sensors" doc:"Passive sensors on a mirror port or tap."`
	Resolver *Resolver `yaml:"resolver" doc:"The filtering resolver."`
	Logs     []Log     `yaml:"logs" doc:"Logs of other programs, read as they grow: weaker sensors."`
}

// Log is a log of another program.
type Log struct {
	Format string `yaml:"format" doc:"zeek, suricata (EVE), squid (native) or dnsmasq."`
	Path   string `yaml:"path" doc:"The file. It is followed across rotation and restarts."`
}

// Sensor watches one interface.
type Sensor struct {
	Interface string `yaml:"interface" doc:"Name of the interface."`
}

// Resolver configures the filtering resolver.
type Resolver struct {
	Listen           []string          `yaml:"listen" doc:"Addresses for UDP and TCP, e.g. 10.0.0.1:53."`
	Upstream         []string          `yaml:"upstream" doc:"Resolvers that answer allowed questions."`
	Rewrite          map[string]string `yaml:"rewrite" doc:"Names answered with a fixed address."`
	RebindProtection bool              `yaml:"rebind_protection" doc:"Drop private addresses from answers about public names."`
	Answer           string            `yaml:"answer" doc:"What a stopped question gets: nxdomain (default), null or refused."`
	Timeout          time.Duration     `yaml:"timeout" doc:"Wait for one upstream. Default 2s."`
}

// Fleet configures the server of agents.
type Fleet struct {
	Listen   string        `yaml:"listen" doc:"Address that agents connect to, e.g. 0.0.0.0:8444. Without it there is no fleet."`
	MaxHosts int           `yaml:"max_hosts" doc:"Most machines that the fleet takes in. Default 20000."`
	MustRun  []string      `yaml:"must_run" doc:"Paths of programs that agents never block, besides their own: what must never be locked out, as the client of the VPN."`
	Learning time.Duration `yaml:"learning" doc:"How long agents in mode learn do so before their proposals are called ready. Default 336h, 14 days."`
}

// Santa configures the sync server of machines with Santa.
type Santa struct {
	Listen      string `yaml:"listen" doc:"Address that machines sync with, e.g. 0.0.0.0:8445. Without it there is none."`
	Certificate string `yaml:"certificate" doc:"PEM file. Without it a self-signed one is made in the keys folder."`
	Key         string `yaml:"key" doc:"PEM file."`
	ClientCA    string `yaml:"client_ca" doc:"PEM file of the authority of the machines' certificates: a machine is let in by one whose common name or DNS name is its machine id."`
	Tokens      string `yaml:"tokens" doc:"File with a line for each machine: its machine id and its token, which it sends as Authorization: Bearer. It is read again when it changes."`
}

// Inspectors configures inspectors that need a service.
type Inspectors struct {
	Malware  *Malware      `yaml:"malware" doc:"Malware scanning."`
	Deadline time.Duration `yaml:"deadline" doc:"Time for all inspectors of one item. Default 5s."`
}

// Malware configures clamd.
type Malware struct {
	Clamd string `yaml:"clamd" doc:"unix:/path or tcp:host:port."`
}

// Observations says how long observations are kept.
type Observations struct {
	Days *int `yaml:"days" doc:"Days that allowed and unknown flows and questions are kept with machine and site, 0 to 31; then only hourly counts without names remain. 0 keeps only these. Default 14."`
}

// Alerts says who is told.
type Alerts struct {
	Mail      *Mail            `yaml:"mail" doc:"By mail."`
	Webhooks  []string         `yaml:"webhooks" doc:"By HTTP POST, one OCSF object each."`
	Syslog    []string         `yaml:"syslog" doc:"By syslog (RFC 5424), e.g. udp:10.0.0.2:514; OCSF in the message."`
	Routes    map[string]Route `yaml:"routes" doc:"Channels by the word in a rule's alert: such an alert goes there and nowhere else. With routes, a rule whose word is none of them is a mistake."`
	Every     time.Duration    `yaml:"every" doc:"The same alert is sent once in this time, then counted. Default 15m."`
	Heartbeat time.Duration    `yaml:"heartbeat" doc:"A sign of life in this interval. Default 24h; a negative value turns it off."`
}

// Route is where the alerts of one route go.
type Route struct {
	Mail     *Mail    `yaml:"mail" doc:"By mail."`
	Webhooks []string `yaml:"webhooks" doc:"By HTTP POST, one OCSF object each."`
	Syslog   []string `yaml:"syslog" doc:"By syslog (RFC 5424)."`
}

// Mail configures alerts by mail.
type Mail struct {
	Server   string   `yaml:"server" doc:"host:port of the mail server."`
	From     string   `yaml:"from" doc:"Sender."`
	To       []string `yaml:"to" doc:"Recipients."`
	User     string   `yaml:"user" doc:"Account on the server."`
	Password string   `yaml:"password" doc:"file:PATH or env:NAME."`
}

// Metrics configures the metrics listener.
type Metrics struct {
	Listen string `yaml:"listen" doc:"Address of /metrics and /healthz, e.g. 127.0.0.1:9464. The console serves them too, to a signed-in administrator."`
}
