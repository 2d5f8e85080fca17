package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/outside"
)

// Reach is how far something knows the log to have come.
type Reach struct {
	By     string // who knows: the name of a recipient, or a file of state/
	Leaves uint64 // frames that the log had
	Time   time.Time
}

// Known returns the furthest that dir/state knows the log to have come: by what a recipient acknowledged, or by what was searched for rolls.
// It is zero where nothing is known, and stays when journal and log are gone.
func Known(dir string) (Reach, error) {
	sent, err := loadProgress(progressPath(dir))
	if err != nil {
		return Reach{}, err
	}
	var out Reach
	for name, a := range sent.by {
		if a.Leaves > out.Leaves || a.Leaves == out.Leaves && a.Time.After(out.Time) {
			out = Reach{By: name, Leaves: a.Leaves, Time: a.Time}
		}
	}
	rolled, err := loadRolls(rollsPath(dir))
	if err != nil {
		return Reach{}, err
	}
	if rolled.Seen > out.Leaves {
		out = Reach{By: "state/rolls.json", Leaves: rolled.Seen}
	}
	return out, nil
}

// keeper is an outlet that can be asked how far what it keeps of a log reaches.
type keeper interface {
	reach(ctx context.Context, key *Key) (uint64, error)
}

// Kept returns the furthest that recipients which can be asked have of this log. A folder that cannot be read is an error of its own: others
// are asked all the same.
func (l *Ledger) Kept(ctx context.Context) (out Reach, err error) {
	for _, s := range l.senders {
		k, ok := s.to.Outlet.(keeper)
		if !ok {
			continue
		}
		n, failed := k.reach(ctx, l.key)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("recipient %s: %w", s.to.Name, failed))
		}
		if n > out.Leaves {
			out = Reach{By: s.to.Name, Leaves: n}
		}
	}
	return out, err
}

// Bounds of reading a folder of bundles: others can write there.
const (
	maxNamed  = 20
	maxBundle = 64 << 20
)

// reach reads the bundles whose names say that they reach furthest, until one is signed by the key.
func (d fileDrop) reach(ctx context.Context, key *Key) (uint64, error) {
	names, err := furthest(ctx, d.dir)
	if err != nil {
		return 0, err
	}
	v, err := note.NewVerifier(key.verifier)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		raw, err := outside.ReadFile(filepath.Join(d.dir, name), maxBundle)
		if err != nil {
			continue
		}
		var b Bundle
		if json.Unmarshal(raw, &b) != nil {
			continue
		}
		n, err := note.Open([]byte(b.Checkpoint), note.VerifierList(v))
		if err != nil {
			continue // of another log
		}
		if lines := strings.SplitN(n.Text, "\n", 3); len(lines) == 3 {
			var size uint64
			if _, err := fmt.Sscan(lines[1], &size); err == nil {
				return size, nil
			}
		}
	}
	return 0, nil
}

// furthest returns the names of the bundles in a folder that say they reach furthest, the furthest first.
func furthest(ctx context.Context, dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var best []string
	to := func(name string) string { return name[len("checkpoint-00000000000000000000-"):] }
	for ctx.Err() == nil {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if len(name) > len("checkpoint-00000000000000000000-00000000000000000000") && strings.HasPrefix(name, "checkpoint-") && strings.HasSuffix(name, ".json") {
				best = append(best, name)
			}
		}
		slices.SortFunc(best, func(a, b string) int { return strings.Compare(to(b), to(a)) })
		best = best[:min(len(best), maxNamed)]
		if err != nil {
			return best, nil
		}
	}
	return best, ctx.Err()
}
