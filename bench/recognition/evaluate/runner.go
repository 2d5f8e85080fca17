package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// verdict is what the recogniser said of a flow.
type verdict struct {
	app, service string
	confidence   event.Confidence
	evidence     []event.Evidence
	packets      int64 // to the verdict
	proto        string
	revised      bool
	named        bool // the flow has a host name
	time         float64
}

// runner runs the recogniser over the captures of a folder.
type runner struct {
	catalog *catalog.Catalog
	names   []string
}

func newRunner(folder string) (*runner, error) {
	cat, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.*cap*"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no captures", folder)
	}
	return &runner{cat, names}, nil
}

// run returns the verdicts by flow.
func (r *runner) run(t classify.Thresholds) (map[string][]verdict, error) {
	found := map[string][]verdict{}
	for _, name := range r.names {
		if err := r.capture(name, t, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// capture reads one capture. What ends in the middle, or turns out not to be one, is scored by what was read of it.
func (r *runner) capture(name string, t classify.Thresholds, found map[string][]verdict) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	base := filepath.Base(name)
	k := classify.New(r.catalog, classify.Options{Capture: base, Thresholds: &t, Report: func(f *classify.Finding) {
		a, errA := netip.ParseAddrPort(f.Flow.Client)
		b, errB := netip.ParseAddrPort(f.Flow.Server)
		if errors.Join(errA, errB) != nil {
			return
		}
		key := flowKey(base, f.Flow.Proto, a, b)
		found[key] = append(found[key], verdict{
			app: f.Flow.App, service: f.Flow.Service, confidence: f.Flow.Confidence, evidence: slices.Clone(f.Evidence),
			packets: f.Flow.PacketsToVerdict, proto: f.Flow.Proto, revised: f.Flow.Revised, named: f.Flow.Name != "", time: float64(f.FirstSeen.UnixMicro()) / 1e6,
		})
	}})
	_, err = flow.ReadCapture(context.Background(), f, flow.NewTracker(k, flow.Limits{}))
	var path *os.PathError
	if errors.As(err, &path) {
		return err
	}
	return nil
}
