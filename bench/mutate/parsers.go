package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/scanned"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/authenticode"
	"github.com/chaperone-im/chaperone/internal/program/manifest"
	"github.com/chaperone-im/chaperone/internal/program/msi"
	"github.com/chaperone-im/chaperone/internal/program/token"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/lzx"
	"github.com/chaperone-im/chaperone/internal/unpack/nsisbzip"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// outcome is what became of one input.
type outcome struct {
	clean  bool   // it was read without a complaint
	caught string // a panic that the parser itself caught
}

// parser is one reader of bytes from outside.
type parser struct {
	name string
	door bool // the scanner hands such files to the child
	read func([]byte) outcome
}

// memory is what one input may keep alive. A model or dictionary of 7z takes what the archive asks for, up to 256 MiB, beside all else, and a
// model of RAR's PPMd a third more.
func (p *parser) memory() uint64 {
	switch p.name {
	case "7z":
		return 288 << 20
	case "rar4", "self-extracting": // which may be a RAR behind a program
		return 384 << 20
	}
	return maxMemory
}

// fileFormats are the formats of files that the scanner looks into, each with all that it finds inside.
func fileFormats() []string {
	return []string{
		"pe", "pe-signed", "msi", "ole", "elf", "appimage", "macho", "macho-fat", "deb", "rpm", "plist-xml", "plist-binary", "desktop", "asar", "msix", "jar", "wheel",
		"metadata", "zip", "tar", "gzip", "bzip2", "xz", "zstd", "7z", "ar", "rar4", "rar5", "cab", "cpio", "xar", "pbzx", "iso", "nsis", "self-extracting",
		"squashfs-gzip", "squashfs-lzo", "squashfs-xz", "squashfs-lz4", "squashfs-zstd",
	}
}

// parsers is the one list.
func parsers() []parser {
	var out []parser
	for _, name := range fileFormats() {
		out = append(out, parser{name, true, look})
	}
	return append(out,
		parser{"lzx", false, readLZX},
		parser{"nsis-bzip2", false, func(b []byte) outcome {
			_, err := io.Copy(io.Discard, io.LimitReader(nsisbzip.NewReader(bytes.NewReader(b)), 8<<20))
			return done(err)
		}},
		parser{"authenticode", false, func(b []byte) outcome {
			_, err := authenticode.Parse(b, nil)
			return done(err)
		}},
		parser{"manifests", false, readManifests},
		parser{"tokens", false, readTokens()},
		parser{"sniff", false, func(b []byte) outcome {
			_ = program.Sniff(b)
			_, err := program.SniffFar(bytes.NewReader(b), int64(len(b)))
			return done(err)
		}},
		parser{"filetype", false, readFiletype},
		parser{"quarantine-manifest", false, func(b []byte) outcome {
			_, err := quarantine.ParseManifest(b)
			return done(err)
		}},
		parser{"quarantine-seal", false, func(b []byte) outcome {
			_, err := quarantine.ParseSeal(b)
			return done(err)
		}},
		parser{"removal-plan", false, func(b []byte) outcome {
			_, err := scanned.ParsePlan(b)
			return done(err)
		}},
		parser{"scan-state", false, readState},
	)
}

func parserNamed(name string) (parser, bool) {
	for _, p := range parsers() {
		if p.name == name {
			return p, true
		}
	}
	return parser{}, false
}

func done(err error) outcome {
	if err == nil {
		return outcome{clean: true}
	}
	return outcome{caught: caughtIn(err.Error())}
}

// caughtIn returns a text when it tells of a panic that was caught on the way.
func caughtIn(text string) string {
	if strings.Contains(text, "runtime error") || strings.Contains(text, "panic") {
		return text
	}
	return ""
}

// looker does what the child does with a file, and keeps what it complained of.
type looker struct{ outcome }

// Visit identifies an entry.
func (l *looker) Visit(e *unpack.Entry) bool {
	id, problem := reveal.Identify(e, nil)
	if problem != nil {
		l.Fail(e.Inside, problem.Reason, problem.Detail)
	}
	if id != nil && id.Unread != "" {
		l.Fail(e.Inside, "", id.Unread)
	}
	return true
}

// Fail keeps a complaint.
func (l *looker) Fail(_, _, detail string) {
	l.clean = false
	if c := caughtIn(detail); c != "" {
		l.caught = c
	}
}

// look looks into a file as the scanner's child does.
func look(b []byte) outcome {
	l := &looker{outcome{clean: true}}
	if err := unpack.Walk(context.Background(), b, unpack.Limits{}, l); err != nil {
		l.Fail("", "", err.Error())
	}
	return l.outcome
}

// readLZX reads the window, the size of a frame, and the frame, twice.
func readLZX(b []byte) outcome {
	if len(b) < 3 {
		return outcome{}
	}
	d, err := lzx.New(int(b[0] & 31))
	if err != nil {
		return done(err)
	}
	_, err = d.Frame(b[3:], int(binary.LittleEndian.Uint16(b[1:])))
	out := done(err)
	if _, err := d.Frame(b[3:], lzx.FrameSize); err != nil && out.caught == "" {
		out.caught = caughtIn(err.Error())
	}
	return out
}

func readManifests(b []byte) outcome {
	var out outcome
	for _, f := range []program.Format{program.MSIX, program.JAR, program.ASAR, program.Wheel} {
		_, err := manifest.Parse(f, b)
		o := done(err)
		out.clean = out.clean || o.clean
		if o.caught != "" {
			out.caught = o.caught
		}
	}
	return out
}

func readTokens() func([]byte) outcome {
	set := token.New([]string{"tdesktop", "149.154.167.50", "telegram", "signal-desktop"})
	return func(b []byte) outcome { return outcome{clean: len(set.Find(b)) > 0} }
}

func readFiletype(b []byte) outcome {
	r := filetype.New().Inspect(context.Background(), &inspect.Item{File: &event.File{Name: "a.pdf"}, Body: bytes.NewReader(b), Size: int64(len(b))})
	return outcome{clean: len(r.NotInspected) == 0}
}

// readState opens the list of a scan that was interrupted.
func readState(b []byte) outcome {
	dir, err := os.MkdirTemp("", "mutate-state-")
	if err != nil {
		return done(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/scan.state", b, 0o600); err != nil {
		return done(err)
	}
	m, err := rescan.Open(dir, "rules")
	if err != nil {
		return done(err)
	}
	known := m.Known(rescan.Key{Ino: 1, Changed: 1})
	return outcome{clean: known && m.Close() == nil}
}

// parserOf tells which parser a sample is for.
func parserOf(b []byte) string {
	f := program.Sniff(b[:min(len(b), program.HeadSize)])
	if f == program.None {
		f, _ = program.SniffFar(bytes.NewReader(b), int64(len(b))) // memory does not fail
	}
	switch f {
	case program.None:
		return ""
	case program.Bundle:
		if bytes.HasPrefix(b, []byte("bplist")) {
			return "plist-binary"
		}
		return "plist-xml"
	case program.MachO:
		if binary.BigEndian.Uint32(b)&^1 == 0xcafebabe {
			return "macho-fat"
		}
	case program.OLE:
		if _, err := msi.Parse(b); errors.Is(err, msi.ErrNotMSI) {
			return "ole"
		}
		return "msi"
	case program.RAR:
		if len(b) > 6 && b[6] == 1 {
			return "rar5"
		}
		return "rar4"
	case program.Wheel:
		return "metadata"
	case program.Squashfs:
		if len(b) > 20 {
			return map[byte]string{1: "squashfs-gzip", 3: "squashfs-lzo", 4: "squashfs-xz", 5: "squashfs-lz4", 6: "squashfs-zstd"}[b[20]]
		}
	}
	return string(f)
}
