// Package catalog loads, checks and indexes what each messenger looks like: names, addresses, traffic, publishers, packages, hashes and
// tokens. Look-ups answer with the app, the fact that matched and how strong it is.
package catalog

import (
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// App is one messenger, as its file under catalog/apps says.
type App struct {
	ID        string    `yaml:"id"`      // e.g. telegram; API
	Name      string    `yaml:"name"`    // for people
	Approved  bool      `yaml:"-"`       //
	Sources   []string  `yaml:"sources"` // where the file's facts are from unless a fact says otherwise, with dates
	Names     Names     `yaml:"names"`   // domain suffixes
	Addresses []Address `yaml:"addresses"`
	Traffic   []Traffic `yaml:"traffic"`
	Programs  Programs  `yaml:"programs"`
}

// Names are domain suffixes ("telegram.org" covers every host below it) by what they serve.
type Names struct {
	Service  []NameFact `yaml:"service"`
	Download []NameFact `yaml:"download"`
	Web      []NameFact `yaml:"web"`
	Call     []NameFact `yaml:"call"`
	Login    []NameFact `yaml:"login"`
}

// NameFact is a domain suffix. In YAML a plain string, or a mapping when it has more to say.
type NameFact struct {
	Suffix     string           `yaml:"suffix"`
	Confidence event.Confidence `yaml:"confidence"` // low, medium, high (default) or exact
	Source     string           `yaml:"source"`
	Shared     bool             `yaml:"shared"` // other products use it too: never above low
}

// Address is an address range. Alone it is never above low.
type Address struct {
	CIDR   netip.Prefix `yaml:"cidr"`
	Source string       `yaml:"source"`
}

// Traffic is a signature of traffic: what a decoder must have seen.
type Traffic struct {
	ID         string            `yaml:"id"`
	Transport  string            `yaml:"transport"` // tcp, udp or quic
	Decoder    string            `yaml:"decoder"`   // name of the decoder that yields the fact
	Match      map[string]string `yaml:"match"`     // values of that decoder's facts, all of which must hold
	Service    string            `yaml:"service"`
	Confidence event.Confidence  `yaml:"confidence"`
	Source     string            `yaml:"source"`
}

// Programs are the facts about programs, by system.
type Programs struct {
	Windows []WindowsProgram `yaml:"windows"`
	MacOS   []MacProgram     `yaml:"macos"`
	Linux   []LinuxProgram   `yaml:"linux"`
	Hashes  []HashFact       `yaml:"hashes"`
}

// WindowsProgram is a PE or MSI: the exe name is a hint, publisher and product identify.
type WindowsProgram struct {
	Exe        string          `yaml:"exe"`
	Product    []string        `yaml:"product"` // ProductName of the version resource or MSI property
	Publishers []Publisher     `yaml:"publishers"`
	Upgrade    []string        `yaml:"upgrade"` // MSI UpgradeCode
	Installer  map[string]bool `yaml:"installer"`
	Tokens     []string        `yaml:"tokens"`
}

// Publisher is a certificate subject and the time in which it signed.
type Publisher struct {
	Subject string    `yaml:"subject"`
	From    time.Time `yaml:"from"`
	To      time.Time `yaml:"to"`
	Source  string    `yaml:"source"`
	Shared  bool      `yaml:"shared"` // also signs other products (Microsoft, Google): needs a product match
}

// MacProgram is a bundle.
type MacProgram struct {
	Bundle string   `yaml:"bundle"`
	Team   string   `yaml:"team"`
	Tokens []string `yaml:"tokens"`
}

// LinuxProgram is a package or binary.
type LinuxProgram struct {
	Deb      []string `yaml:"deb"`
	RPM      []string `yaml:"rpm"`
	Snap     []string `yaml:"snap"`
	Flatpak  []string `yaml:"flatpak"`
	Desktop  []string `yaml:"desktop"` // id of the desktop file
	Binary   []string `yaml:"binary"`
	Tokens   []string `yaml:"tokens"`
	AppImage []string `yaml:"appimage"`
}

// HashFact is the SHA-256 of a file.
type HashFact struct {
	SHA256  string `yaml:"sha256"` // hex
	Version string `yaml:"version"`
	Source  string `yaml:"source"`
}

// Match is one catalog fact that holds.
type Match struct {
	App      string
	Service  string // call, chat, login, download, web or ""
	Identity bool   // identity-grade: publisher with product, package, bundle, hash
	Evidence event.Evidence
}
