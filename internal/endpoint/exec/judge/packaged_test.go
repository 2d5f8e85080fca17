package judge_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// brought tells by the name of a file where it comes from: a messenger's package, one that only claims to be, or one that is not known for sure.
type brought struct{}

func (brought) Origin(_ context.Context, f *judge.File) judge.Origin {
	name := filepath.Base(f.Path)
	o := judge.Origin{Claimed: strings.Contains(name, "claimed"), Unsure: strings.Contains(name, "unsure")}
	if app, _, ok := strings.Cut(name, "-"); ok && app != "plain" {
		o.Match = &catalog.Match{App: app, Identity: true, Evidence: event.Evidence{Fact: "deb:" + app, Value: app, Strength: event.Exact}}
	}
	return o
}

// approves lets one messenger start and no other, and in lockdown nothing else.
type approves string

func (a approves) Decide(in *policy.Input) event.Verdict {
	v := decider{true}.Decide(in)
	if in.Event.Program.App == string(a) {
		v.Action, v.Rule = event.Allow, "allowed"
	}
	return v
}

// TestPackaged starts programs that packages brought. A messenger's does not start; what only claims to be one is refused more and never less.
func TestPackaged(t *testing.T) {
	for name, test := range map[string]struct {
		content  string
		mode     judge.Mode
		policy   policy.Decider
		allowed  bool
		remember bool
		app      string // that was stopped
	}{
		"zoom-1":              {"program ", judge.DenyList, decider{true}, false, false, "zoom"},
		"zoom-script":         {"script ", judge.DenyList, decider{true}, false, false, "zoom"},
		"zoom-late":           {"slow ", judge.DenyList, decider{true}, false, false, "zoom"},
		"zoom-claimed":        {"program ", judge.DenyList, decider{true}, false, false, "zoom"},
		"zoom-claimed-script": {"script ", judge.DenyList, decider{true}, false, false, "zoom"},
		"plain-1":             {"program ", judge.DenyList, decider{true}, true, true, ""},
		"plain-unsure":        {"program ", judge.DenyList, decider{true}, true, false, ""},
		"zoom-2":              {"program ", judge.Lockdown, approves("zoom"), true, false, ""},
		"zoom-claimed-2":      {"program ", judge.Lockdown, approves("zoom"), false, false, ""},
		"zoom-claimed-late":   {"slow ", judge.DenyList, approves("zoom"), false, false, ""},
		"zoom-signal":         {"messenger ", judge.DenyList, approves("zoom"), false, false, "telegram"},
		"signal-1":            {"messenger ", judge.DenyList, approves("telegram"), false, false, "signal"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, judge.Options{Packages: brought{}, Mode: test.mode, Rules: judge.Rules{Policy: test.policy}, Trust: trust(false),
				Now: func() time.Time { return time.Now().Add(time.Minute) }})
			b.lay(map[string]string{name: test.content})
			if strings.Contains(name, "claimed") { // others can change it
				if err := os.Chmod(filepath.Join(b.dir, name), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			m := b.askPath(filepath.Join(b.dir, name), wire.Quiet)
			if m.Has(wire.Allow) != test.allowed || m.Has(wire.Remember) != test.remember || m.Has(wire.Ignore) && !test.remember {
				t.Fatalf("flags %b", m.Flags)
			}
			if test.allowed {
				return
			}
			s := <-b.stops
			if s.Event.Program.App != test.app || test.app == "zoom" && s.Event.Evidence[len(s.Event.Evidence)-1].Fact != "deb:zoom" {
				t.Errorf("%+v %+v", s.Event.Program, s.Event.Evidence)
			}
		})
	}
}
