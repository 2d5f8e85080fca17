package ledgertest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

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
				if frames[i].Records = kept; len(kept) == 0 {
					frames = slices.Delete(frames, i, i+1)
				}
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
	streams, err := readStreams(dir)
	if err != nil {
		return nil, err
	}
	return inOrder(dir, streams)
}

func readStreams(dir string) (map[string][]journal.Frame, error) {
	streams := map[string][]journal.Frame{}
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, name := range files {
		frames, err := readSegment(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		stream := filepath.Base(filepath.Dir(name))
		streams[stream] = append(streams[stream], frames...)
	}
	return streams, nil
}

// readSegment returns the frames of a segment; a torn last frame is left out.
func readSegment(name string) ([]journal.Frame, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []journal.Frame
	for r := bufio.NewReader(f); ; {
		frame, _, err := journal.ReadFrame(r)
		if errors.Is(err, io.EOF) || errors.Is(err, journal.ErrTorn) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, frame)
	}
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
