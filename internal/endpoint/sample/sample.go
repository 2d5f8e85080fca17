// Package sample replays a catalog's samples of programs: small files of which it is known as what they must be identified, and by which
// facts. It is to programs what network/sample is to traffic.
package sample

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Replay scans every program among the samples, and returns how many were identified as stated, and what was not. main must have given
// reveal.Parser to sandbox.Child.
func Replay(ctx context.Context, c *catalog.Catalog, s *catalog.Samples) (int, []catalog.Problem, error) {
	if len(s.Programs) == 0 {
		return 0, nil, nil
	}
	dir, err := os.MkdirTemp("", "chaperone-samples-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	scanner, err := scan.New(scan.Options{Catalog: c, Policy: nothing{}, Workers: 1})
	if err != nil {
		return 0, nil, err
	}
	defer scanner.Close()
	good := 0
	var problems []catalog.Problem
	for i := range s.Programs {
		x := &s.Programs[i]
		message, err := replay(ctx, scanner, dir, s, x)
		if err != nil {
			return good, problems, err
		}
		if message == "" {
			good++
			continue
		}
		problems = append(problems, catalog.Problem{File: x.Path(), App: x.App, Message: message})
	}
	return good, problems, nil
}

// nothing is a policy that has no opinion.
type nothing struct{}

// Decide allows.
func (nothing) Decide(*policy.Input) event.Verdict { return event.Verdict{Action: event.Allow} }

// replay scans one program, and says what is wrong with what was found.
func replay(ctx context.Context, scanner *scan.Scanner, dir string, s *catalog.Samples, x *catalog.Sample) (string, error) {
	b, err := s.Read(x)
	if err != nil {
		return err.Error(), nil
	}
	path := filepath.Join(dir, x.File)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", err
	}
	defer os.Remove(path)
	var apps, facts []string
	_, err = scanner.Scan(ctx, []string{path}, func(r scan.Result) error {
		if r.Problem != nil {
			apps = append(apps, "("+r.Problem.Reason+")")
			return nil
		}
		apps = append(apps, r.Finding.Event.Program.App)
		for _, e := range r.Finding.Event.Evidence {
			facts = append(facts, e.Fact)
		}
		return nil
	})
	return judge(x, apps, facts), err
}

func judge(x *catalog.Sample, apps, facts []string) string {
	if x.App == catalog.Innocent {
		if len(apps) > 0 {
			return "is identified as " + strings.Join(apps, ", ") + ", and is none"
		}
		return ""
	}
	if !slices.Contains(apps, x.App) {
		return fmt.Sprintf("is not identified as %s, but as %q", x.App, strings.Join(apps, ", "))
	}
	for _, want := range x.Facts {
		if !slices.Contains(facts, want) {
			return fmt.Sprintf("is not identified by %s, but by %s", want, strings.Join(facts, ", "))
		}
	}
	return ""
}
