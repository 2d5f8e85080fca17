package ledgertest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
)

// ErrNoRecord says that no record has the id.
var ErrNoRecord = errors.New("ledgertest: no such record")

// Tamper removes one record from the data directory dir and re-signs everything with the key: frames, roots, chain, tiles and checkpoint.
// Nothing inside the directory shows it afterwards. It is meant for copies.
func Tamper(dir, recordID string, key *ledger.Key) error {
	return Rewrite(dir, key, func(frames []journal.Frame) ([]journal.Frame, error) {
		for i := range frames {
			kept := slices.DeleteFunc(slices.Clone(frames[i].Records), func(r journal.Record) bool {
				h, err := event.ParseHeader(r.Header)
				return err == nil && string(h.ID) == recordID
			})
			if len(kept) < len(frames[i].Records) {
				frames[i].Records = kept
				return frames, nil
			}
		}
		return nil, ErrNoRecord
	})
}

// Rewrite lets edit change the frames of dir, in the ledger's order, and re-signs everything with the key.
func Rewrite(dir string, key *ledger.Key, edit func([]journal.Frame) ([]journal.Frame, error)) error {
	frames, err := Read(dir)
	if err != nil {
		return err
	}
	if frames, err = edit(frames); err != nil {
		return err
	}
	_, err = Build(dir, key, frames)
	return err
}

// Read returns all frames of dir: those in the ledger in its order, then the others stream by stream.
func Read(dir string) ([]journal.Frame, error) {
	streams := map[string][]journal.Frame{}
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		frames, err := Decode(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		stream := filepath.Base(filepath.Dir(name))
		streams[stream] = append(streams[stream], frames...)
	}
	return inOrder(dir, streams)
}

func inOrder(dir string, streams map[string][]journal.Frame) ([]journal.Frame, error) {
	var out []journal.Frame
	order, err := leafStreams(filepath.Join(dir, "ledger", "tile", "entries"))
	if err != nil {
		return nil, err
	}
	for _, s := range order {
		if rest := streams[s]; len(rest) > 0 {
			out, streams[s] = append(out, rest[0]), rest[1:]
		}
	}
	var names []string
	for s := range streams {
		names = append(names, s)
	}
	slices.Sort(names)
	for _, s := range names {
		out = append(out, streams[s]...)
	}
	return out, nil
}

// leafStreams lists the stream of every leaf.
func leafStreams(dir string) ([]string, error) {
	var out []string
	for n := 0; ; n++ {
		base := filepath.Join(dir, tilePath(n))
		path := base
		if _, err := os.Stat(base); err != nil {
			partial := 0
			for c := width - 1; c > 0 && partial == 0; c-- {
				if _, err := os.Stat(filepath.Join(base+".p", fmt.Sprint(c))); err == nil {
					partial = c
				}
			}
			if partial == 0 {
				return out, nil
			}
			path = filepath.Join(base+".p", fmt.Sprint(partial))
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for len(b) >= 2 {
			size := int(binary.BigEndian.Uint16(b))
			var h journal.Head
			if err := json.Unmarshal(b[2:2+size], &h); err != nil {
				return nil, err
			}
			out, b = append(out, h.Stream), b[2+size:]
		}
	}
}

// Decode returns the frames of a segment; a torn last frame is left out.
func Decode(b []byte) ([]journal.Frame, error) {
	var out []journal.Frame
	for len(b) >= 16 {
		if !strings.HasPrefix(string(b[:4]), "CJF1") {
			return nil, errors.New("no frame")
		}
		head := int(binary.BigEndian.Uint32(b[4:]))
		headers := int(binary.BigEndian.Uint32(b[8:]))
		sealed := int(binary.BigEndian.Uint32(b[12:]))
		total := 16 + head + headers + sealed + 4
		if len(b) < total {
			return out, nil
		}
		f := journal.Frame{HeadRaw: b[16 : 16+head]}
		if err := json.Unmarshal(f.HeadRaw, &f.Head); err != nil {
			return nil, err
		}
		contents := parts(b[16+head+headers : total-4])
		for i, h := range parts(b[16+head : 16+head+headers]) {
			f.Records = append(f.Records, journal.Record{Header: h, Sealed: contents[i]})
		}
		out, b = append(out, f), b[total:]
	}
	return out, nil
}

func parts(b []byte) [][]byte {
	var out [][]byte
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		out = append(out, b[used:used+int(n)])
		b = b[used+int(n):]
	}
	return out
}
