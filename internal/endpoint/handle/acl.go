package handle

import (
	"errors"
	"fmt"
	"slices"
)

// ErrWritable says that others than administrators may write something.
var ErrWritable = errors.New("others than administrators may write it")

// Access is an entry of an access list of Windows.
type Access struct {
	Type, Flags uint8 // of an ACE header
	Mask        uint32
	SID         string
}

// Of access lists (winnt.h).
const (
	typeAllowed, typeDenied = 0, 1
	inheritOnly             = 0x8

	writeData  = 0x2 // of a folder: make files in it
	appendData = 0x4 // of a folder: make folders in it

	// Whoever has one of these may put another in the place of what is there.
	replaces = 0x40 | 0x10000 | 0x40000 | 0x80000 | 0x10000000 | 0x40000000 | 0x2000000
	changes  = replaces | writeData | appendData | 0x10 | 0x100
)

// administrators are who may change any program of a machine: its administrators, the system, and Windows' own installer.
func administrators() []string {
	return []string{"S-1-5-32-544", "S-1-5-18", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"}
}

// OnlyAdministrators returns ErrWritable unless the owner of something and its access list let administrators alone change it. above: it is a
// folder above what matters, in which others may make new things as long as they cannot replace what is there.
func OnlyAdministrators(owner string, list []Access, above bool) error {
	if !slices.Contains(administrators(), owner) {
		return fmt.Errorf("%w: its owner is %s", ErrWritable, owner)
	}
	bad := uint32(changes)
	if above {
		bad = replaces
	}
	for _, a := range list {
		switch {
		case a.Flags&inheritOnly != 0 || a.Type == typeDenied:
		case a.Type != typeAllowed:
			return fmt.Errorf("%w: an entry of its access list is not understood", ErrWritable)
		case a.Mask&bad != 0 && !slices.Contains(administrators(), a.SID):
			return fmt.Errorf("%w: %s may", ErrWritable, a.SID)
		}
	}
	return nil
}
