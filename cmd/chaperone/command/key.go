package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/durable"
)

// MakeKey makes a key that signs notes: its secret part goes to a file, its verifier is printed.
func MakeKey(e *Env, name, out string) error {
	secret, verifier, err := bundle.NewKey(name)
	if err != nil {
		return err
	}
	if err := PlaceNew(out, []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Out, "%s\n", verifier)
	return err
}

// PlaceNew writes a file that must not be there, also where links are not known, as on removable disks.
func PlaceNew(path string, b []byte, mode os.FileMode) error {
	err := durable.Create(path, b, mode)
	if errors.Is(err, fs.ErrExist) {
		return hint.New(err, "what is there is kept: move it away, or name another file")
	}
	return err
}
