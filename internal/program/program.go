// Package program holds what a file is, told by its content and never by its name: formats, and the identity that parsers read.
//
// The packages below it each read one format. They are given all bytes of a file, trust none of them, and run in the sandbox child.
package program

import (
	"strings"
	"time"
	"unicode"
)

// Format is the format of a file, by its content.
type Format string

// The formats that matter here: programs, packages and containers. None is everything else.
const (
	None     Format = ""
	PE       Format = "pe"
	MSI      Format = "msi"
	OLE      Format = "ole" // a compound file that is no MSI
	ELF      Format = "elf"
	AppImage Format = "appimage"
	MachO    Format = "macho"
	Deb      Format = "deb"
	RPM      Format = "rpm"
	Bundle   Format = "plist" // property list: Info.plist of a macOS bundle
	Desktop  Format = "desktop"
	ASAR     Format = "asar" // the payload of an Electron program
	Squashfs Format = "squashfs"
	MSIX     Format = "msix" // also AppX: a zip with their manifest
	JAR      Format = "jar"
	Wheel    Format = "wheel" // a Python distribution, packed or installed

	Zip      Format = "zip"
	Tar      Format = "tar"
	Gzip     Format = "gzip"
	Bzip2    Format = "bzip2"
	XZ       Format = "xz"
	Zstd     Format = "zstd"
	SevenZip Format = "7z"
	AR       Format = "ar"
	RAR      Format = "rar"
	Cabinet  Format = "cab"
	CPIO     Format = "cpio"
	XAR      Format = "xar"  // macOS installer package
	Pbzx     Format = "pbzx" // the payload of one

	// Containers that are recognised only to say that they are not taken apart.
	DMG           Format = "dmg" // macOS disk image
	ISO           Format = "iso"
	WIM           Format = "wim"
	LZ4           Format = "lz4"
	Lzip          Format = "lzip"
	Compress      Format = "compress"
	LHA           Format = "lha"
	ACE           Format = "ace"
	InstallShield Format = "installshield"
)

// Program reports whether files of the format run, install or start something.
func (f Format) Program() bool {
	switch f {
	case PE, MSI, ELF, AppImage, MachO, Deb, RPM, Bundle, Desktop, ASAR, Squashfs, MSIX, JAR, Wheel:
		return true
	default:
		return false
	}
}

// Container reports whether files of the format hold other files.
func (f Format) Container() bool {
	switch f {
	case Zip, Tar, Gzip, Bzip2, XZ, Zstd, SevenZip, AR, Deb, RPM, RAR, Cabinet, Squashfs, AppImage, MSI, OLE, CPIO, ASAR, ISO, XAR, Pbzx:
		return true
	default:
		return f.unopened()
	}
}

func (f Format) unopened() bool {
	switch f {
	case DMG, WIM, LZ4, Lzip, Compress, LHA, ACE, InstallShield:
		return true
	default:
		return false
	}
}

// HasTokens reports whether catalog tokens count in files of the format: executables and packages, since documents talk about messengers.
func (f Format) HasTokens() bool {
	switch f {
	case PE, MSI, ELF, AppImage, MachO, Deb, RPM, ASAR, Squashfs:
		return true
	default:
		return false
	}
}

// Kinds of programs.
const (
	Client    = "client"
	Installer = "installer"
	Package   = "package"
	Library   = "library"
	Launcher  = "launcher"
)

// Identity is what a file says about itself.
type Identity struct {
	Format    Format   `json:"format"`
	Kind      string   `json:"kind,omitempty"`
	Product   string   `json:"product,omitempty"`
	Company   string   `json:"company,omitempty"` // as the file claims
	Version   string   `json:"version,omitempty"`
	Signers   []Signer `json:"signers,omitempty"`
	Upgrade   string   `json:"upgrade,omitempty"`   // UpgradeCode of an MSI
	Package   string   `json:"package,omitempty"`   // name of a deb, rpm, MSIX or Python package, main class of a Java archive
	Flatpak   string   `json:"flatpak,omitempty"`   // application id, in a desktop file
	Snap      string   `json:"snap,omitempty"`      // instance name, in a desktop file
	Bundle    string   `json:"bundle,omitempty"`    // macOS bundle identifier
	Team      string   `json:"team,omitempty"`      // Apple team identifier
	DesktopID []string `json:"desktop,omitempty"`   // ids that a desktop file names
	WebApp    string   `json:"web_app,omitempty"`   // id of a web application that a desktop file starts
	WebHost   string   `json:"web_host,omitempty"`  // host of the page that it starts as one
	Binary    string   `json:"binary,omitempty"`    // original file name, soname or started program
	BuildID   string   `json:"build_id,omitempty"`  // of an ELF
	Needed    []string `json:"needed,omitempty"`    // libraries of an ELF
	Maintains string   `json:"maintains,omitempty"` // maintainer or vendor of a package
	Tokens    []int    `json:"tokens,omitempty"`    // indices of the catalog tokens inside
	SHA256    string   `json:"sha256,omitempty"`
	Size      int64    `json:"size"`
	Unread    string   `json:"unread,omitempty"` // why parts of the format could not be read
}

// Signer is the certificate that signed a file.
type Signer struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer,omitempty"`
	Time    time.Time `json:"time,omitzero"` // by the countersignature, zero when there is none

	// Of Authenticode: Verified says that the key of the certificate signed this very file; that anybody vouches for the certificate is not
	// asked. Unverified says why it did not, empty also where nothing was checked.
	Verified   bool   `json:"verified,omitempty"`
	Unverified string `json:"unverified,omitempty"`
	Key        string `json:"key,omitempty"` // SHA-256 of the public key
	SelfSigned bool   `json:"self_signed,omitempty"`
}

// maxText bounds every text taken from a file.
const maxText = 512

// Text makes a short, printable, valid text of what a file says.
func Text(s string) string {
	if len(s) > 4*maxText {
		s = s[:4*maxText]
	}
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// SignedAt returns the first known time of a signature, zero when there is none.
func (id *Identity) SignedAt() time.Time {
	for _, s := range id.Signers {
		if !s.Time.IsZero() {
			return s.Time
		}
	}
	return time.Time{}
}
