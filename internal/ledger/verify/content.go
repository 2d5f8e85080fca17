package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
)

// disposals pairs records whose content is gone with the acts that certify it: header kind act, phase record.dispose, refers to the record.
type disposals struct {
	waiting   map[string]Finding  // content gone, no certificate yet
	certified map[string]struct{} // certificate seen, content not met yet
	lost      uint64              // beyond the bound
	done      uint64
}

// maxDisposals bounds how many of either are remembered at once.
const maxDisposals = 1 << 21

func newDisposals() *disposals {
	return &disposals{waiting: map[string]Finding{}, certified: map[string]struct{}{}}
}

func (d *disposals) certificate(h header) {
	if h.Kind != "act" || h.Phase != "record.dispose" || h.Refers == "" {
		return
	}
	if _, ok := d.waiting[h.Refers]; ok {
		delete(d.waiting, h.Refers)
		d.done++
	} else if len(d.certified) < maxDisposals {
		d.certified[h.Refers] = struct{}{}
	}
}

func (d *disposals) missing(id string, f Finding) {
	switch _, ok := d.certified[id]; {
	case ok:
		d.done++
	case len(d.waiting) < maxDisposals:
		d.waiting[id] = f
	default:
		d.lost++
	}
}

func (d *disposals) finish(r *Result) {
	r.Disposed = d.done
	for _, f := range d.waiting {
		r.add(f)
	}
	if d.lost > 0 {
		r.add(Finding{Kind: ContentMissing, Detail: fmt.Sprintf("%d more records without content than this verifier can pair with certificates", d.lost)})
	}
}

// objects checks the sealed files that records brought.
type objects struct {
	dir    string
	here   bool
	absent uint64
	result *Result
}

var objectName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func newObjects(dir string, r *Result) *objects {
	o := &objects{dir: filepath.Join(dir, "objects"), result: r}
	o.here = exists(o.dir)
	return o
}

// check holds the objects of a record against its header; of a disposed record they may be gone too.
func (o *objects) check(h header, at Finding, disposed bool) {
	for _, obj := range h.Objects {
		if !o.here {
			o.absent++
			continue
		}
		sum, err := o.digest(obj.Name)
		switch {
		case err != nil && disposed:
		case err != nil:
			at.Kind, at.Detail = ObjectMissing, fmt.Sprintf("object %s: %v", obj.Name, err)
			o.result.add(at)
		case sum != obj.SHA256:
			at.Kind, at.Detail = ObjectChanged, fmt.Sprintf("object %s is not what the record brought", obj.Name)
			o.result.add(at)
		default:
			o.result.Objects++
		}
	}
}

// digest reads the object, which lies flat or under the first two characters of its name.
func (o *objects) digest(name string) (string, error) {
	if !objectName.MatchString(name) {
		return "", fmt.Errorf("not a name")
	}
	f, err := openRegular(filepath.Join(o.dir, name))
	if err != nil && len(name) > 2 {
		f, err = openRegular(filepath.Join(o.dir, name[:2], name))
	}
	if err != nil {
		return "", fmt.Errorf("not there")
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (o *objects) finish() {
	if o.absent > 0 {
		o.result.note("%d sealed files are kept elsewhere (no folder objects here) and were not checked", o.absent)
	}
}
