package reveal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/appx"
	"github.com/chaperone-im/chaperone/internal/program/bundle"
	"github.com/chaperone-im/chaperone/internal/program/deb"
	"github.com/chaperone-im/chaperone/internal/program/desktop"
	"github.com/chaperone-im/chaperone/internal/program/elf"
	"github.com/chaperone-im/chaperone/internal/program/macho"
	"github.com/chaperone-im/chaperone/internal/program/manifest"
	"github.com/chaperone-im/chaperone/internal/program/msi"
	"github.com/chaperone-im/chaperone/internal/program/pe"
	"github.com/chaperone-im/chaperone/internal/program/rpm"
	"github.com/chaperone-im/chaperone/internal/program/token"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// Parser returns the parser that runs in the sandbox child.
func Parser() sandbox.Parser {
	p := &parser{}
	return sandbox.Parser{Name: ParserName, Parse: p.parse}
}

// parser is the child's side. A child has one job at a time.
type parser struct {
	tokens *token.Set
	limits unpack.Limits
}

func (p *parser) parse(job *sandbox.Job) error {
	if p.tokens == nil {
		var s setup
		if err := json.Unmarshal(job.Setup, &s); err != nil {
			return fmt.Errorf("setup: %w", err)
		}
		p.tokens, p.limits = token.New(s.Tokens), s.Limits
	}
	if job.Size == 0 {
		return nil
	}
	data, unmap, err := mapped(job.File, job.Size)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	v := &visitor{job: job, tokens: p.tokens}
	err = errors.Join(unpack.Walk(context.Background(), data, p.limits, v), v.err)
	return errors.Join(err, unmap())
}

// visitor answers the parent as the walk goes on.
type visitor struct {
	job    *sandbox.Job
	tokens *token.Set
	err    error // the parent does not listen any more
}

// Visit identifies an entry and answers with it.
func (v *visitor) Visit(e *unpack.Entry) bool {
	v.job.At(e.Inside)
	id, problem := Identify(e, v.tokens)
	if problem != nil {
		problem.Inside = []byte(e.Inside)
		v.answer(answer{Problem: problem})
	}
	if id != nil {
		v.answer(answer{Item: &Item{Inside: []byte(e.Inside), Identity: *id}})
	}
	return v.err == nil
}

// Fail answers with a problem.
func (v *visitor) Fail(inside, reason, detail string) {
	v.answer(answer{Problem: &Problem{[]byte(inside), reason, detail}})
}

func (v *visitor) answer(a answer) {
	b, err := json.Marshal(a)
	if err == nil {
		err = v.job.Answer(b)
	}
	if err != nil && v.err == nil {
		v.err = err
	}
}

// Identify reads what an entry is. It returns no identity for what turns out to be no program, except for the outermost file, whose hash
// may be known, and a problem when it could not be read. It must run in the sandbox.
func Identify(e *unpack.Entry, tokens *token.Set) (*program.Identity, *Problem) {
	id, err := read(e)
	var problem *Problem
	switch {
	case err == nil:
	case errors.Is(err, pe.ErrNotPE), errors.Is(err, bundle.ErrNotBundle), errors.Is(err, desktop.ErrNotApplication), errors.Is(err, manifest.ErrNone):
		return nil, nil
	case errors.Is(err, msi.ErrNotMSI):
		id.Format, id.Kind = program.OLE, ""
	default:
		problem = &Problem{Reason: event.ReasonUnparseable, Detail: program.Text(err.Error())}
	}
	if !id.Format.Program() && e.Inside != "" {
		return nil, problem
	}
	set := tokens
	if !id.Format.HasTokens() {
		set = nil
	}
	id.SHA256, id.Tokens = digest(e.Data, set)
	id.Size = int64(len(e.Data))
	return &id, problem
}

// read is the one list of parsers by format.
func read(e *unpack.Entry) (program.Identity, error) {
	switch e.Format {
	case program.PE:
		return pe.Parse(e.Data)
	case program.OLE:
		return msi.Parse(e.Data)
	case program.ELF, program.AppImage:
		return elf.Parse(e.Data, e.Format)
	case program.MachO:
		return macho.Parse(e.Data)
	case program.Deb:
		return deb.ParseControl(e.Control), nil
	case program.RPM:
		return rpm.Parse(e.Data)
	case program.Bundle:
		return bundle.Parse(e.Data)
	case program.Desktop:
		return desktop.Parse(e.Data)
	case program.MSIX, program.JAR, program.ASAR, program.Wheel:
		control := e.Control
		if e.Format == program.Wheel && control == nil {
			control = e.Data // installed: the file is the manifest itself
		}
		id, err := manifest.Parse(e.Format, control)
		if e.Format == program.MSIX && err == nil {
			appx.Sign(e.Data, &id)
		}
		if e.Format == program.ASAR && err != nil {
			err = nil // one without a name is an archive all the same
		}
		return id, err
	case program.Squashfs:
		return program.Identity{Format: e.Format, Kind: program.Package}, nil
	default:
		return program.Identity{Format: e.Format}, nil
	}
}
