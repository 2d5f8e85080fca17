package quickstart

import (
	"fmt"
	"strings"
)

// pseudonymsText is the part of the configuration that a profile writes.
func pseudonymsText(profile string) string {
	console, commandLine, why := true, false, "counsel produces evidence with the command line, and it names people"
	switch profile {
	case "us-broker-dealer":
		console, why = false, "supervision has to know whom it supervises (FINRA 3110, SEC 17a-4): nobody is hidden from its reviewers"
	case "works-council":
		commandLine, why = true, "chaperone disclose and the console's button tell a name, each time on record"
	}
	return fmt.Sprintf("# Readers see pseudonyms until they name somebody or ask for a name; %s.\npseudonyms: {console: %t, command_line: %t}\n", why, console, commandLine)
}

// configText is the configuration, with comments.
func configText(o Options) string {
	data, unlock := "./data", "data"
	if o.Data != "" {
		data, unlock = o.Data, o.Data
	}
	return strings.NewReplacer("{{DOMAIN}}", o.Domain, "{{CONSOLE}}", o.Console, "{{DATA}}", data, "{{UNLOCK}}", unlock, "{{PURPOSES}}", purposesLine(o.Profile), "{{PSEUDONYMS}}", pseudonymsText(o.Profile)).Replace(`# chaperone.yaml. Every part is optional: what is not configured does not run.
# Reference: chaperone config describe. Check: chaperone config test --config chaperone.yaml
data_dir: "{{DATA}}"
policy: policy.yaml
people: {csv: people.csv}

# Records are sealed to the compliance key. With unlock, this process reads too: console, search and holds.
# Better than a file beside the data: a systemd credential ("credential:chaperone"). SECURITY.md says what each costs.
keys: {unlock: "file:{{UNLOCK}}/keys/passphrase"}

# Where checkpoints leave this machine. Until one recipient outside has acknowledged, nothing can be proven against an administrator,
# and health says so. A folder counts as outside only when another machine owns it.
ledger:
  checkpoints: []
  # checkpoints: ["file:/mnt/drop", "https://checkpoints.example.net/in", "syslog:udp://192.0.2.20:514"]

console: {listen: "{{CONSOLE}}"{{PURPOSES}}}
{{PSEUDONYMS}}metrics: {listen: "127.0.0.1:9464"}

# In front of your XMPP server; docs/guide/xmpp.md says how.
# gateways:
#   - id: office
#     kind: xmpp
#     domain: {{DOMAIN}}
#     listen:
#       - {address: "0.0.0.0:5222", tls: starttls, certificate: cert.pem, key: key.pem}
#       - {address: "0.0.0.0:5223", tls: direct, certificate: cert.pem, key: key.pem}
#     upstream: {address: "127.0.0.1:15222", tls: starttls, ca: ca.pem}
#     uploads: {listen: "0.0.0.0:5443", upstream: "http://127.0.0.1:5280"}
#     on_failure: closed

# The filtering resolver (docs/guide/resolver.md) and sensors on a mirror port (docs/guide/inspect.md).
# network:
#   resolver: {listen: ["10.0.0.1:53"], upstream: ["192.0.2.53:53"], rebind_protection: true}
#   sensors: [{interface: mirror0}]

# inspectors: {malware: {clamd: "unix:/run/clamav/clamd.ctl"}}
# alerts: {webhooks: ["https://alerts.example.net/in"], syslog: ["udp:192.0.2.20:514"]}
`)
}
