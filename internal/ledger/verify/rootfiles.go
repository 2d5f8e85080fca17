package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The prefix of a sealed content (docs/reference/proof-format.md, section 3): version, id of the root, number of the key.
const (
	sealedVersion = 1
	rootBytes     = 16
	maxRoots      = 1 << 20 // different roots that are remembered; beyond, they are not looked for
)

// rootFiles holds the roots that sealed contents name against the files in keys/roots. It opens none of them.
type rootFiles struct {
	dir     string
	name    string // as findings say it
	here    bool
	denied  bool
	seen    map[[rootBytes]byte]bool // whether its file is there
	lost    map[[rootBytes]byte]uint64
	unasked uint64
}

// newRootFiles looks whether keys are kept beside the data: an auditor's copy has none, or the ledger's public key only.
func newRootFiles(dir, keys string) *rootFiles {
	r := &rootFiles{name: "keys/roots", dir: filepath.Join(keys, "roots"), seen: map[[rootBytes]byte]bool{}, lost: map[[rootBytes]byte]uint64{}}
	if keys != filepath.Join(dir, "keys") {
		r.name = r.dir
	}
	_, err := os.Stat(r.dir)
	r.denied = errors.Is(err, fs.ErrPermission)
	r.here = err == nil || exists(filepath.Join(keys, "compliance.pub"))
	return r
}

// sealed looks for the root of one content.
func (r *rootFiles) sealed(b []byte) {
	if len(b) < 1+rootBytes || b[0] != sealedVersion {
		return
	}
	if !r.here || r.denied {
		r.unasked++
		return
	}
	id := [rootBytes]byte(b[1:])
	there, asked := r.seen[id]
	if !asked {
		if len(r.seen) >= maxRoots {
			r.unasked++
			return
		}
		st, err := os.Stat(filepath.Join(r.dir, hex.EncodeToString(id[:])+".json"))
		there = err == nil && st.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
		r.seen[id] = there
	}
	if !there {
		r.lost[id]++
	}
}

func (r *rootFiles) finish(result *Result) {
	var ids []string
	for id, n := range r.lost {
		ids = append(ids, fmt.Sprintf("root %s is not in %s: the content of %d records cannot be read, and no record certifies that it was destroyed", hex.EncodeToString(id[:]), r.name, n))
	}
	slices.Sort(ids)
	for _, detail := range ids {
		result.add(Finding{Kind: ContentKeyMissing, Detail: detail})
	}
	switch {
	case r.denied && r.unasked > 0:
		result.note("the folder %s may not be read: whether the keys of %d sealed contents are there was not checked", r.dir, r.unasked)
	case r.unasked > 0:
		result.note("keys are kept elsewhere (no %s): whether those of %d sealed contents are there was not checked; say where keys are kept: --config FILE (chaperone-verify: -keys)", r.name, r.unasked)
	}
}
