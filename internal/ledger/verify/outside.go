package verify

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxBundle bounds one bundle, maxOutsideFiles a folder of them.
const (
	maxBundle       = 64 << 20
	maxOutsideFiles = 1 << 20
	maxShown        = 20 // outside checkpoints that differ, in a result
)

// bundle is a checkpoint with the record hashes of the frames [From, To) of the ledger.
type bundle struct {
	Version    int           `json:"v"`
	Type       string        `json:"type"`
	Origin     string        `json:"origin"`
	Key        string        `json:"key"`
	Checkpoint string        `json:"checkpoint"`
	From       uint64        `json:"from"`
	To         uint64        `json:"to"`
	Frames     []bundleFrame `json:"frames"`

	path   string
	offset int64
	sum    hash // of the checkpoint, once the frames were dropped
}

// bundleFrame is one frame as it was when the bundle was made.
type bundleFrame struct {
	Stream   string   `json:"stream"`
	Sequence uint64   `json:"seq"`
	Head     string   `json:"head"`   // canonical bytes of the frame's head: the ledger's leaf
	IDs      []string `json:"ids"`    // of the records, in order
	Hashes   []string `json:"hashes"` // hex RFC 6962 leaf hashes of the records' headers, in order
}

// BundleType is what a bundle says it is.
const BundleType = "chaperone-checkpoint"

// outside is all that was kept outside: checkpoints by size, and bundles that are read again frame by frame as the walk comes to them.
type outside struct {
	list    []*checkpoint
	bySize  map[uint64][]*checkpoint
	bundles []*bundle // by first leaf
	next    int       // index of the first bundle that does not lie wholly before the walk
	loaded  *bundle
}

func loadOutside(path, key string) (*outside, error) {
	o := &outside{}
	if path == "" {
		return o, nil
	}
	files, err := outsideFiles(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var bare []string
	for _, f := range files {
		isNote, err := o.load(f, key)
		if err != nil {
			return nil, fmt.Errorf("verify: outside checkpoint %s: %w", f, err)
		}
		if isNote {
			bare = append(bare, f)
		}
	}
	if len(o.list)+len(bare) == 0 {
		return nil, fmt.Errorf("verify: %s holds no checkpoint", path)
	}
	slices.SortFunc(o.bundles, func(a, b *bundle) int { return cmp.Compare(a.From, b.From) })
	return o, o.loadBare(bare, key)
}

func outsideFiles(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name()[0] != '.' {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) > maxOutsideFiles {
		return nil, errors.New("too many files")
	}
	return files, nil
}

// load reads the bundles of one file, or says that it is a bare note.
func (o *outside) load(path, key string) (isNote bool, err error) {
	f, err := openRegular(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if first, err := r.Peek(1); err != nil || first[0] != '{' {
		return true, nil
	}
	d := json.NewDecoder(io.LimitReader(r, maxBundle*1024))
	for {
		b := &bundle{path: path, offset: d.InputOffset()}
		if err := d.Decode(b); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		c, err := b.check(key)
		if err != nil {
			return false, err
		}
		b.sum, c.source, c.bundle = leafHash([]byte(b.Checkpoint)), path, b
		b.Frames, b.Checkpoint, c.raw = nil, "", ""
		o.list, o.bundles = append(o.list, c), append(o.bundles, b)
	}
}

// loadBare opens bare notes with the key given, else with the one that a bundle brought; else the walk will take the store's own.
func (o *outside) loadBare(files []string, key string) error {
	if key == "" && len(o.bundles) > 0 {
		key = o.bundles[0].Key
	}
	for _, f := range files {
		raw, err := readSmall(f)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if !looksLikeNote(raw) {
			return fmt.Errorf("verify: %s is neither a checkpoint nor a bundle", f)
		}
		c := &checkpoint{raw: string(raw), source: f}
		if key != "" {
			if c, err = parseCheckpoint(raw, key); err != nil {
				return fmt.Errorf("verify: %s: %w", f, err)
			}
			c.source = f
		}
		o.list = append(o.list, c)
	}
	return nil
}

// check holds a bundle against itself: frames against their heads, and, when it begins at the first leaf, heads against the checkpoint.
func (b *bundle) check(key string) (*checkpoint, error) {
	if b.Version != 1 || b.Type != BundleType {
		return nil, errors.New("not a bundle of a version this program knows")
	}
	if key == "" {
		key = b.Key
	}
	c, err := parseCheckpoint([]byte(b.Checkpoint), key)
	if err != nil {
		return nil, err
	}
	if b.To < b.From || b.To > c.size || uint64(len(b.Frames)) != b.To-b.From {
		return nil, errors.New("the bundle does not hold the frames it says")
	}
	var t tree
	for i := range b.Frames {
		if err := b.Frames[i].check(); err != nil {
			return nil, fmt.Errorf("frame %d of the bundle: %w", i, err)
		}
		t.append(leafHash([]byte(b.Frames[i].Head)))
	}
	if b.From == 0 && b.To == c.size && t.root() != c.root {
		return nil, errors.New("the frames of the bundle are not those of its checkpoint")
	}
	return c, nil
}

func (f *bundleFrame) check() error {
	h, err := parseHead([]byte(f.Head))
	if err != nil {
		return err
	}
	leaves := make([]hash, len(f.Hashes))
	for i, s := range f.Hashes {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != len(hash{}) {
			return errors.New("a malformed hash")
		}
		leaves[i] = hash(b)
	}
	if h.Stream != f.Stream || h.Sequence != f.Sequence || h.Count != len(f.Hashes) || len(f.IDs) != len(f.Hashes) ||
		h.Root != fmt.Sprintf("%x", rootOf(leaves)) {
		return errors.New("its records are not those of its head")
	}
	return nil
}

func (o *outside) size() uint64 {
	n := uint64(0)
	for _, c := range o.list {
		n = max(n, c.size)
	}
	return n
}

// at returns the checkpoints of exactly that size.
func (o *outside) at(size uint64) []*checkpoint {
	if o.bySize == nil {
		o.bySize = map[uint64][]*checkpoint{}
		for _, c := range o.list {
			o.bySize[c.size] = append(o.bySize[c.size], c)
		}
	}
	return o.bySize[size]
}

// expected returns leaf i's frame as it was, nil when no bundle holds it.
func (o *outside) expected(i uint64) (*bundleFrame, error) {
	for o.next < len(o.bundles) && o.bundles[o.next].To <= i {
		o.next, o.loaded = o.next+1, nil
	}
	if o.next == len(o.bundles) || o.bundles[o.next].From > i {
		return nil, nil
	}
	if o.loaded == nil {
		if err := o.reload(o.bundles[o.next]); err != nil {
			return nil, err
		}
	}
	return &o.loaded.Frames[i-o.loaded.From], nil
}

func (o *outside) reload(b *bundle) error {
	f, err := openRegular(b.path)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(b.offset, io.SeekStart); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	again := &bundle{}
	if err := json.NewDecoder(f).Decode(again); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if again.From != b.From || again.To != b.To || uint64(len(again.Frames)) != b.To-b.From || leafHash([]byte(again.Checkpoint)) != b.sum {
		return errors.New("verify: a bundle changed while it was read")
	}
	o.loaded = again
	return nil
}

func (o *outside) close() { o.loaded = nil }

// adopt opens the bare notes with the store's own key, when no other was given.
func (o *outside) adopt(key string, r *Result) {
	for i, c := range o.list {
		if c.origin != "" {
			continue
		}
		opened, err := parseCheckpoint([]byte(c.raw), key)
		if err != nil {
			r.add(Finding{Kind: CheckpointDiffers, Detail: fmt.Sprintf("the outside checkpoint %s was not signed by the key of this ledger: %v", c.source, err)})
			continue
		}
		opened.source = c.source
		o.list[i] = opened
	}
	for _, b := range o.bundles {
		if key != "" && !bytes.Equal(bytes.TrimSpace([]byte(key)), bytes.TrimSpace([]byte(b.Key))) {
			r.add(Finding{Kind: CheckpointDiffers, Detail: "the ledger's key is not the one that signed the outside checkpoint"})
			return
		}
	}
}

// judge reports what the outside checkpoints say that no record said.
func (o *outside) judge(w *walk) {
	named := slices.ContainsFunc(w.result.Findings, func(f Finding) bool { return f.Record != "" })
	said := false
	slices.SortStableFunc(o.list, func(a, b *checkpoint) int { return cmp.Compare(a.size, b.size) })
	w.result.Checkpoints = len(o.list)
	for i, c := range o.list {
		if !c.matches && len(w.result.Outside) < maxShown || i == len(o.list)-1 {
			w.result.Outside = append(w.result.Outside, Outside{c.source, c.size, c.time, c.matches, c.bundle != nil})
		}
		if c.origin == "" || said {
			continue
		}
		if c.size > w.log.size {
			said = true
			w.result.add(Finding{Kind: LedgerTruncated, Detail: fmt.Sprintf("the checkpoint of %s has %d frames, the ledger %d", timeOf(c.time), c.size, w.log.size)})
		}
		if !c.matches && !named {
			said = true
			w.result.add(Finding{Kind: CheckpointDiffers, Detail: fmt.Sprintf("differs from the checkpoint of %s, place unknown", timeOf(c.time))})
		}
	}
}
