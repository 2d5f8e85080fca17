// Package ledgertest makes small data directories with a journal and a ledger, and plays the adversary against them: somebody with root and
// the signing key who changes the past and re-signs everything. Tests use it, and so does the demonstration.
package ledgertest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
)

// Build writes journal and ledger of the frames, in their order, into dir, replacing both. Heads are made anew: stream, time and records
// count, sequence, chain and roots are computed. The frames are returned as they were written.
func Build(dir string, key *ledger.Key, frames []journal.Frame) ([]journal.Frame, error) {
	frames, err := chain(frames)
	if err != nil {
		return nil, err
	}
	if err := writeSegments(filepath.Join(dir, "journal"), frames); err != nil {
		return nil, fmt.Errorf("build journal: %w", err)
	}
	if err := writeLog(filepath.Join(dir, "ledger"), key, frames); err != nil {
		return nil, fmt.Errorf("build ledger: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return nil, err
	}
	return frames, os.WriteFile(filepath.Join(dir, "keys", "ledger.pub"), []byte(key.Verifier()+"\n"), 0o644)
}

// chain gives each frame its place in its stream and the head that belongs to it.
func chain(frames []journal.Frame) ([]journal.Frame, error) {
	out := slices.Clone(frames)
	seq, prev := map[string]uint64{}, map[string]string{}
	for i := range out {
		h := &out[i].Head
		seq[h.Stream]++
		h.Version, h.Sequence, h.Prev = 1, seq[h.Stream], prev[h.Stream]
		h.Count, h.Root = len(out[i].Records), journal.Root(headers(out[i].Records))
		raw, err := event.Canonical(h)
		if err != nil {
			return nil, err
		}
		out[i].HeadRaw = raw
		prev[h.Stream] = journal.Hash(raw)
	}
	return out, nil
}

func headers(records []journal.Record) [][]byte {
	var out [][]byte
	for _, r := range records {
		out = append(out, r.Header)
	}
	return out
}

func merkle(leaves [][]byte) []byte {
	switch n := len(leaves); n {
	case 0:
		return rfc6962.DefaultHasher.EmptyRoot()
	case 1:
		return leaves[0]
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		return rfc6962.DefaultHasher.HashChildren(merkle(leaves[:k]), merkle(leaves[k:]))
	}
}

func writeSegments(dir string, frames []journal.Frame) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	files := map[string]*bytes.Buffer{}
	for _, f := range frames {
		if files[f.Head.Stream] == nil {
			files[f.Head.Stream] = &bytes.Buffer{}
		}
		b, err := journal.EncodeFrame(nil, &f)
		if err != nil {
			return err
		}
		files[f.Head.Stream].Write(b)
	}
	for stream, b := range files {
		folder := filepath.Join(dir, stream)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.seg", 1)), b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o700)
}

// width of a tile (C2SP tlog-tiles).
const width = 256

func writeLog(dir string, key *ledger.Key, frames []journal.Frame) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	level := make([][]byte, len(frames))
	var entries [][]byte
	for i, f := range frames {
		level[i] = rfc6962.DefaultHasher.HashLeaf(f.HeadRaw)
		entries = append(entries, append(binary.BigEndian.AppendUint16(nil, uint16(len(f.HeadRaw))), f.HeadRaw...))
	}
	signed, err := key.Checkpoint(uint64(len(frames)), merkle(level))
	if err != nil {
		return err
	}
	if err := writeTiles(dir, "entries", entries); err != nil {
		return err
	}
	for l := 0; len(level) > 0; l++ {
		if err := writeTiles(dir, strconv.Itoa(l), level); err != nil {
			return err
		}
		var above [][]byte
		for full := range slices.Chunk(level[:len(level)/width*width], width) {
			above = append(above, merkle(full))
		}
		level = above
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "checkpoint"), signed, 0o644)
}

func writeTiles(dir, kind string, parts [][]byte) error {
	n := 0
	for tile := range slices.Chunk(parts, width) {
		path := filepath.Join(dir, "tile", kind, tilePath(n))
		if len(tile) < width {
			path = filepath.Join(path+".p", strconv.Itoa(len(tile)))
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, slices.Concat(tile...), 0o644); err != nil {
			return err
		}
		n++
	}
	return nil
}

func tilePath(n int) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

// Record makes a record of a message for tests: header and content are real, the seal is not (it is the content itself).
func Record(n int, edit func(*event.Event)) (journal.Record, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, n, time.UTC)
	e := &event.Event{ID: event.ID(fmt.Sprintf("019b0000-0000-7000-8000-%012d", n)), Kind: event.Message, Time: at, Received: at, Connector: "office",
		From: event.Party{ID: fmt.Sprintf("h%d", n%7)}, Room: event.Room{ID: fmt.Sprintf("r%d", n%3)}, Content: event.Content{Text: fmt.Sprintf("message %d", n)}}
	if edit != nil {
		edit(e)
	}
	h, content, err := e.Split(bytes.Repeat([]byte{byte(n)}, event.SaltSize))
	if err != nil {
		return journal.Record{}, err
	}
	h.Sealed = event.Digest(content)
	raw, err := event.Canonical(&h)
	return journal.Record{Header: raw, Sealed: content}, err
}

// Frames makes n frames with the given number of records each, over the given number of streams in turn.
func Frames(n, records, streams int) ([]journal.Frame, error) {
	var out []journal.Frame
	for i := range n {
		name := journal.Local
		if s := i % streams; s > 0 {
			name = fmt.Sprintf("part-%d", s)
		}
		f := journal.Frame{Head: journal.Head{Stream: name, Time: time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)}}
		for j := range records {
			r, err := Record(i*records+j, nil)
			if err != nil {
				return nil, err
			}
			f.Records = append(f.Records, r)
		}
		out = append(out, f)
	}
	return out, nil
}

// BundleOf makes the bundle that an outside recipient would have got after those frames, with the record hashes of those from a leaf on.
func BundleOf(key *ledger.Key, frames []journal.Frame, from int) (ledger.Bundle, error) {
	b := ledger.Bundle{Version: 1, Type: ledger.BundleType, Origin: key.Origin(), Key: key.Verifier(), From: uint64(from), To: uint64(len(frames)), Frames: []ledger.BundleFrame{}}
	var leaves [][]byte
	for i, f := range frames {
		leaves = append(leaves, rfc6962.DefaultHasher.HashLeaf(f.HeadRaw))
		if i < from {
			continue
		}
		bf := ledger.BundleFrame{Stream: f.Head.Stream, Sequence: f.Head.Sequence, Head: string(f.HeadRaw), IDs: []string{}, Hashes: []string{}}
		for _, r := range f.Records {
			h, err := event.ParseHeader(r.Header)
			if err != nil {
				return b, err
			}
			bf.IDs = append(bf.IDs, string(h.ID))
			bf.Hashes = append(bf.Hashes, hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(r.Header)))
		}
		b.Frames = append(b.Frames, bf)
	}
	signed, err := key.Checkpoint(uint64(len(frames)), merkle(leaves))
	b.Checkpoint = string(signed)
	return b, err
}
