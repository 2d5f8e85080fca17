package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ForOthers is what it means that others can read a key.
const ForOthers = "who has it reads every record, or signs the ledger"

// Exposed is a file or folder of keys that others than its owner can use.
type Exposed struct{ Path, Mode string } // and the mode that it should have

// Exposures returns what of a keys folder others can use. Public keys and certificates are for everybody.
func Exposures(ctx context.Context, keys string) ([]Exposed, error) {
	var out []Exposed
	err := filepath.WalkDir(keys, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || path != keys && d.IsDir() || public(path) {
			return gone(err)
		}
		info, err := d.Info()
		if err != nil {
			return gone(err)
		}
		if info.Mode().Perm()&0o077 != 0 && info.Mode().Type() != fs.ModeSymlink {
			mode := "0600"
			if d.IsDir() {
				mode = "0700"
			}
			out = append(out, Exposed{path, mode})
		}
		return nil
	})
	return out, err
}

func public(path string) bool {
	return strings.HasSuffix(path, ".pub") || strings.HasSuffix(path, ".crt") || strings.HasSuffix(path, ".vkey")
}

// gone is nil for a file that was renamed or removed meanwhile, as serve does.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ExposedWords says in words what others can use, and what to do; both are "" when it is nothing.
func ExposedWords(ctx context.Context, keys string) (what, do string) {
	if _, err := os.Stat(keys); err != nil {
		return "", "" // whoever needs them says so
	}
	all, err := Exposures(ctx, keys)
	switch {
	case len(all) == 0 && err == nil || ctx.Err() != nil:
		return "", ""
	case len(all) == 0:
		return "who can read the keys is not known: " + err.Error(), "run as the user that serve runs as"
	case len(all) == 1:
		return all[0].Path + " can be read by others: " + ForOthers, "chmod " + all[0].Mode + " " + all[0].Path
	}
	return fmt.Sprintf("%s and %d others of the keys folder can be read by others: %s", all[0].Path, len(all)-1, ForOthers),
		"chmod -R go= " + keys + "; find out who read them, and who changed their modes"
}
