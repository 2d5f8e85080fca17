package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
	"github.com/chaperone-im/chaperone/internal/outside"
)

const (
	packagedAgain = time.Minute      // until rpm is asked again after it failed
	packagedAsk   = 10 * time.Second // how long rpm may take
	maxAnswer     = 64 << 20
)

// answer is what rpm said, as it is kept between workers.
type answer struct {
	Stamp trust.Stamp    `json:"stamp"` // of rpm's database
	Names []string       `json:"names"` // that were asked about
	Files []trust.Listed `json:"files"`
}

// asks reports whether rpm would say something else now.
func (p *packaged) asks(v *view) bool {
	return !p.answered(v) && time.Since(v.failed) > packagedAgain
}

// answered reports whether rpm's answer is to what is asked now.
func (p *packaged) answered(v *view) bool {
	return v.stamp.RPM == v.rpm.Stamp.RPM && (v.stamp.RPM == trust.Stamp{}.RPM || slices.Equal(packageNames(v.catalog)["rpm"], v.rpm.Names))
}

// ask asks rpm.
func (p *packaged) ask(ctx context.Context, v *view) (answer, error) {
	a := answer{Stamp: trust.Stamp{RPM: v.stamp.RPM}, Names: packageNames(v.catalog)["rpm"]}
	if v.stamp.RPM == (trust.Stamp{}).RPM {
		return a, nil // it has no database any more
	}
	ctx, cancel := context.WithTimeout(ctx, packagedAsk)
	defer cancel()
	files, err := trust.RPM(ctx, p.root, a.Names)
	a.Files = trust.Programs(p.root, files)
	return a, err
}

func (p *packaged) path() string { return filepath.Join(p.dir, "packages.json") }

// load reads what rpm answered an earlier worker, nothing where nothing is kept.
func (p *packaged) load() (answer, error) {
	var a answer
	b, err := outside.ReadFile(p.path(), maxAnswer)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return answer{}, fmt.Errorf("packages: %w", err) // it is written anew
	}
	return a, nil
}

// keep writes what rpm answered, whole or not at all.
func (p *packaged) keep(a answer) error {
	b, err := json.Marshal(a)
	if err == nil {
		err = durable.Replace(p.path(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("packages: %w", err)
	}
	return nil
}
