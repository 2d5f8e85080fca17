package server_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/server/selfverify"
)

// noted is an event.Recorder that counts.
type noted struct{ acts int }

func (n *noted) Record(_ context.Context, events ...*event.Event) error {
	n.acts += len(events)
	return nil
}

// TestSelfVerificationFindsEveryDamage is R3: one byte flipped or one record removed, anywhere in the record, is said within one turn, in all of
// 1,000 trials (CHAPERONE_SOAK; fewer without). The store is one that the program wrote.
func TestSelfVerificationFindsEveryDamage(t *testing.T) {
	trials := 60
	if os.Getenv("CHAPERONE_SOAK") != "" {
		trials = 1000
	}
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	now := time.Now().UTC()
	s, _ := h.open()
	s.Start(t.Context())
	for n := range 12 {
		e := wrote(now, "alice", fmt.Sprintf("message %d", n))
		e.Room.Name = fmt.Sprintf("room%d@rooms.example.org", n%3)
		if err := s.Recorder.Record(t.Context(), e, wrote(now, "bob", fmt.Sprintf("answer %d", n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := recordFiles(t, h.cfg.Data())
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(h.cfg.Data())); err != nil {
		t.Fatal(err)
	}
	board, acts := health.NewBoard(time.Now), &noted{}
	v := selfverify.New(selfverify.Config{Dir: copied, State: filepath.Join(t.TempDir(), "verified.json"), Record: acts, Board: board, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	said := func() health.State {
		v.Turn(t.Context())
		for _, i := range board.Items() {
			if i.Name == "verification" {
				return i.State
			}
		}
		return health.OK
	}
	if s := said(); s != health.OK {
		t.Fatalf("the undamaged store is %v: %+v", s, board.Items())
	}
	for n := range trials {
		path := files[r.IntN(len(files))]
		good, err := os.ReadFile(filepath.Join(copied, path))
		if err != nil {
			t.Fatal(err)
		}
		bad, what := damage(r, path, good)
		if err := os.WriteFile(filepath.Join(copied, path), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s := said(); s != health.Failed {
			t.Errorf("trial %d of seed %d: %s of %s is %v", n, seed, what, path, s)
		}
		if err := os.WriteFile(filepath.Join(copied, path), good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s := said(); s != health.OK || acts.acts != trials+2 {
		t.Errorf("mended it is %v, and %d acts of %d turns", s, acts.acts, trials+2)
	}
}

// damage flips one byte of a file, or removes a frame from a segment, or one record of a frame, whose lengths and checksum are made to fit.
func damage(r *rand.Rand, path string, good []byte) (bad []byte, what string) {
	way := r.IntN(3)
	if filepath.Ext(path) != ".seg" || way == 0 {
		bad = slices.Clone(good)
		n := r.IntN(len(bad))
		bad[n] ^= 1 << r.IntN(8)
		return bad, fmt.Sprintf("byte %d", n)
	}
	var starts []int
	for at := 0; at < len(good); {
		starts = append(starts, at)
		at += frameLen(good[at:])
	}
	n := r.IntN(len(starts))
	from, to := starts[n], starts[n]+frameLen(good[starts[n]:])
	if way == 1 {
		return slices.Delete(slices.Clone(good), from, to), fmt.Sprintf("frame %d", n)
	}
	return slices.Replace(slices.Clone(good), from, to, withoutARecord(good[from:to])...), fmt.Sprintf("the first record of frame %d", n)
}

// withoutARecord returns a frame without its first record, whole otherwise.
func withoutARecord(frame []byte) []byte {
	head, headers, sealed := length(frame[4:]), length(frame[8:]), length(frame[12:])
	body := frame[16:]
	cut := func(section []byte) []byte {
		n, used := binary.Uvarint(section)
		return section[used+int(n):]
	}
	left := [][]byte{body[:head], cut(body[head : head+headers]), cut(body[head+headers : head+headers+sealed])}
	out := slices.Clone(frame[:4])
	for _, part := range left {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
	}
	out = append(out, slices.Concat(left...)...)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

func length(b []byte) int { return int(binary.BigEndian.Uint32(b)) }

// frameLen is the length of the frame at the start of b, by the published format.
func frameLen(b []byte) int { return 20 + length(b[4:]) + length(b[8:]) + length(b[12:]) }

var partial = regexp.MustCompile(`^(.*\.p)/([0-9]+)$`)

// recordFiles lists the files of the record below a data directory: of partial tiles only the newest, because older ones are left behind by design.
func recordFiles(t *testing.T, dir string) []string {
	t.Helper()
	newest, files := map[string]int{}, []string(nil)
	for _, folder := range []string{"journal", "ledger/tile", "ledger/checkpoint"} {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			path, err = filepath.Rel(dir, path)
			if m := partial.FindStringSubmatch(path); m != nil {
				n, wrong := strconv.Atoi(m[2])
				newest[m[1]] = max(newest[m[1]], n)
				return wrong
			}
			files = append(files, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range newest {
		files = append(files, filepath.Join(name, strconv.Itoa(n)))
	}
	slices.Sort(files)
	return files
}
