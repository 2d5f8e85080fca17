package catalog

import "github.com/chaperone-im/chaperone/internal/event"

// App is one messenger, as its file under catalog/apps says.
type App struct {
	ID        string      `yaml:"id" json:"id"`     // e.g. telegram; API
	Name      string      `yaml:"name" json:"name"` // for people
	Sources   []string    `yaml:"sources" json:"sources,omitempty"`
	Names     Names       `yaml:"names" json:"names,omitzero"`
	Addresses []Address   `yaml:"addresses" json:"addresses,omitempty"`
	Traffic   []Traffic   `yaml:"traffic" json:"traffic,omitempty"`
	Programs  Programs    `yaml:"programs" json:"programs,omitzero"`
	History   History     `yaml:"history" json:"history,omitzero"`
	ReviewBy  Day         `yaml:"review_by" json:"review_by,omitzero"`    // when its signatures of traffic are to be looked at again
	Publisher []Publisher `yaml:"publishers" json:"publishers,omitempty"` // signs this messenger for every system

	file string // where it was read from, for messages
}

// Names are domain suffixes ("telegram.org" covers every host below it) by what they serve.
type Names struct {
	Service  []NameFact `yaml:"service" json:"service,omitempty"`
	Download []NameFact `yaml:"download" json:"download,omitempty"`
	Web      []NameFact `yaml:"web" json:"web,omitempty"`
	Call     []NameFact `yaml:"call" json:"call,omitempty"`
	Login    []NameFact `yaml:"login" json:"login,omitempty"`
	Chat     []NameFact `yaml:"chat" json:"chat,omitempty"`
	File     []NameFact `yaml:"file" json:"file,omitempty"`
}

// NameFact is a domain suffix. In YAML a plain string, or a mapping when it has more to say.
type NameFact struct {
	Suffix     string   `yaml:"suffix" json:"suffix"`
	Confidence Strength `yaml:"confidence" json:"confidence,omitempty"` // low, medium, high (default) or exact
	Source     string   `yaml:"source" json:"source,omitempty"`
	Shared     bool     `yaml:"shared" json:"shared,omitempty"` // other products use it too: never above low
}

// Address is an address range. Alone it is never above low.
type Address struct {
	CIDR       CIDR     `yaml:"cidr" json:"cidr"`
	Confidence Strength `yaml:"confidence" json:"confidence,omitempty"` // low, said or not
	Source     string   `yaml:"source" json:"source,omitempty"`
	Shared     bool     `yaml:"shared" json:"shared,omitempty"`
}

// Traffic is a signature of traffic: what a decoder must have seen.
type Traffic struct {
	ID         string            `yaml:"id" json:"id"`
	Transport  string            `yaml:"transport" json:"transport"` // tcp, udp or quic
	Decoder    string            `yaml:"decoder" json:"decoder"`     // name of the decoder that yields the fact
	Match      map[string]string `yaml:"match" json:"match,omitempty"`
	Service    string            `yaml:"service" json:"service,omitempty"`
	Confidence Strength          `yaml:"confidence" json:"confidence"`
	Source     string            `yaml:"source" json:"source,omitempty"`
	Sample     string            `yaml:"sample" json:"sample,omitempty"`       // capture that shows it, below samples/, or corpus:FILE
	NoSample   string            `yaml:"no_sample" json:"no_sample,omitempty"` // why there is none
	ReviewBy   Day               `yaml:"review_by" json:"review_by,omitzero"`  // default: the app's
}

// Programs are the facts about programs, by system.
type Programs struct {
	Windows []WindowsProgram `yaml:"windows" json:"windows,omitempty"`
	MacOS   []MacProgram     `yaml:"macos" json:"macos,omitempty"`
	Linux   []LinuxProgram   `yaml:"linux" json:"linux,omitempty"`
	Any     []AnyProgram     `yaml:"any" json:"any,omitempty"`
	Hashes  []HashFact       `yaml:"hashes" json:"hashes,omitempty"`
	Builds  []BuildFact      `yaml:"build_ids" json:"build_ids,omitempty"`
}

// WindowsProgram is a PE or MSI: the exe name is a hint, publisher and product identify.
type WindowsProgram struct {
	Exe        string          `yaml:"exe" json:"exe,omitempty"`
	Product    []string        `yaml:"product" json:"product,omitempty"` // ProductName of the version resource or MSI property
	Publishers []Publisher     `yaml:"publishers" json:"publishers,omitempty"`
	Upgrade    []string        `yaml:"upgrade" json:"upgrade,omitempty"` // MSI UpgradeCode
	AppX       []string        `yaml:"appx" json:"appx,omitempty"`       // name of the package identity, in MSIX and AppX
	Installer  map[string]bool `yaml:"installer" json:"installer,omitempty"`
	Tokens     []TokenFact     `yaml:"tokens" json:"tokens,omitempty"`
	Source     string          `yaml:"source" json:"source,omitempty"`
}

// Publisher is a certificate subject and the time in which it signed; a zero end of the window is open.
type Publisher struct {
	Subject string `yaml:"subject" json:"subject"`
	From    Day    `yaml:"from" json:"from,omitzero"`
	To      Day    `yaml:"to" json:"to,omitzero"`
	Source  string `yaml:"source" json:"source,omitempty"`
	Shared  bool   `yaml:"shared" json:"shared,omitempty"` // also signs other products (Microsoft, Google): needs a product match
}

// MacProgram is a bundle.
type MacProgram struct {
	Bundle     string      `yaml:"bundle" json:"bundle,omitempty"`
	Team       string      `yaml:"team" json:"team,omitempty"`
	SharedTeam bool        `yaml:"shared_team" json:"shared_team,omitempty"` // the team also signs other products
	Tokens     []TokenFact `yaml:"tokens" json:"tokens,omitempty"`
	Source     string      `yaml:"source" json:"source,omitempty"`
}

// LinuxProgram is a package or binary.
type LinuxProgram struct {
	Deb      []string    `yaml:"deb" json:"deb,omitempty"`
	RPM      []string    `yaml:"rpm" json:"rpm,omitempty"`
	Snap     []string    `yaml:"snap" json:"snap,omitempty"`
	Flatpak  []string    `yaml:"flatpak" json:"flatpak,omitempty"`
	AppImage []string    `yaml:"appimage" json:"appimage,omitempty"`
	Desktop  []string    `yaml:"desktop" json:"desktop,omitempty"` // id of the desktop file, without its extension
	Binary   []string    `yaml:"binary" json:"binary,omitempty"`   // a hint, as a Windows exe name is
	Install  []string    `yaml:"install" json:"install,omitempty"` // where packages have it, no symbolic link: a folder of its own, which ends in a slash, or a program
	Tokens   []TokenFact `yaml:"tokens" json:"tokens,omitempty"`
	Source   string      `yaml:"source" json:"source,omitempty"`
}

// AnyProgram runs on every system: in a browser, or in a runtime that is installed apart.
type AnyProgram struct {
	WebApp []string `yaml:"web_app" json:"web_app,omitempty"` // id of the web application in Chromium-based browsers: 32 letters a to p
	Jar    []string `yaml:"jar" json:"jar,omitempty"`         // main class of a Java archive
	Python []string `yaml:"python" json:"python,omitempty"`   // name of a Python distribution
	Source string   `yaml:"source" json:"source,omitempty"`
}

// History is where a messenger keeps what was said, by system.
type History struct {
	Windows []HistoryFact `yaml:"windows" json:"windows,omitempty"`
	MacOS   []HistoryFact `yaml:"macos" json:"macos,omitempty"`
	Linux   []HistoryFact `yaml:"linux" json:"linux,omitempty"`
}

// HistoryFact is a file or folder below a person's home folder. In YAML a plain string, or a mapping when it has more to say.
type HistoryFact struct {
	Path   string `yaml:"path" json:"path"` // slashes on every system; a * stands for one name, not the last
	Source string `yaml:"source" json:"source,omitempty"`
}

// TokenFact is a string inside the program. In YAML a plain string, or a mapping when it has more to say.
type TokenFact struct {
	Text   string `yaml:"text" json:"text"`
	Bare   bool   `yaml:"bare" json:"bare,omitempty"` // other programs contain it too; service names and addresses are bare without saying so
	Source string `yaml:"source" json:"source,omitempty"`
}

// HashFact is the SHA-256 of a file.
type HashFact struct {
	SHA256  string `yaml:"sha256" json:"sha256"` // hex
	Version string `yaml:"version" json:"version,omitempty"`
	Source  string `yaml:"source" json:"source,omitempty"`
}

// BuildFact is the build id that the linker left in a program (NT_GNU_BUILD_ID): it stays when the file is stripped, patched or padded. Whoever makes
// another program can write it there as well, so it does not identify alone.
type BuildFact struct {
	ID      string `yaml:"id" json:"id"` // hex
	Version string `yaml:"version" json:"version,omitempty"`
	Source  string `yaml:"source" json:"source,omitempty"`
}

// Match is one catalog fact that holds.
type Match struct {
	App      string
	Service  string // call, chat, login, download, web or ""
	Identity bool   // identity-grade: publisher with product, package, bundle, hash
	Evidence event.Evidence
}

// Token is a string to look for in executables and packages.
type Token struct {
	Text     string
	App      string
	System   string // windows, macos or linux
	BareName bool   // a service name or address: never identifies alone, not even with another bare one
}

// HistoryPlace is where a messenger keeps what was said: a file or folder below a home folder.
type HistoryPlace struct {
	App      string
	System   string // windows, macos or linux
	Path     string // slashes on every system; a * stands for one name
	Evidence event.Evidence
}

// TrafficSignature is a traffic fact with the messenger it speaks for.
type TrafficSignature struct {
	App        string
	ID         string
	Transport  string
	Decoder    string
	Match      map[string]string
	Service    string
	Confidence event.Confidence
	Source     string
}
