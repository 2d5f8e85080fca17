package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// TestDecisions runs testdata: "policy" compiles a policy, "decide" and "explain" ask it about the cases of their input, one a line.
func TestDecisions(t *testing.T) {
	datadriven.Walk(t, "testdata/decisions", func(t *testing.T, path string) {
		text := ""
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "policy":
				text = d.Input
				if _, err := compileText(text); err != nil {
					return describe(err)
				}
				return "fine"
			case "decide":
				return each(t, text, d.Input, func(p *policy.Policy, in *policy.Input) string { return words(p.Decide(in)) })
			case "explain":
				return each(t, text, d.Input, explain)
			}
			return "unknown command " + d.Cmd
		})
	})
}

func compileText(text string) (*policy.Policy, error) {
	f, err := policy.Parse("p", []byte(text))
	if err != nil {
		return nil, err
	}
	return policy.Compile(f, known())
}

// describe gives every mistake with its hint.
func describe(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range joined.Unwrap() {
			out = append(out, describe(e))
		}
		return strings.Join(out, "\n")
	}
	var e *policy.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Error() + " (" + e.Hint + ")"
	}
	return err.Error()
}

func each(t *testing.T, text, cases string, ask func(*policy.Policy, *policy.Input) string) string {
	var out []string
	for line := range strings.Lines(cases) {
		p, err := compileText(text + "\ntests:\n- " + line)
		if err != nil {
			return describe(err)
		}
		in, err := p.File().Tests[0].Input()
		if err != nil {
			return err.Error()
		}
		out = append(out, ask(p, in))
		if in.Final {
			in.Event.Received = in.Now
			in.Event.Verdict = p.Decide(in)
			if again := p.Redecide(in.Event); words(again) != words(in.Event.Verdict) {
				t.Errorf("%s: decided anew: %s", line, words(again))
			}
		}
	}
	return strings.Join(out, "\n")
}

func words(v event.Verdict) string {
	out := fmt.Sprintf("%s by %s", v.Action, v.Rule)
	if v.Action == event.Pending {
		out = "pending"
	}
	if v.Enforced {
		out += ", enforced"
	}
	if v.Reason != "" {
		out += ", reason " + v.Reason
	}
	for _, o := range v.Obligations {
		out += fmt.Sprintf(", %s %s (%s)", o.Kind, o.Queue, o.Rule)
	}
	if len(v.Also) > 0 {
		out += ", also " + strings.Join(v.Also, " ")
	}
	return out
}

func explain(p *policy.Policy, in *policy.Input) string {
	x := p.Explain(in)
	out := []string{words(x.Verdict)}
	for _, s := range x.Steps {
		line := "  " + s.Rule + ": " + s.Result
		if s.Matcher != "" {
			line += " (" + s.Matcher + ")"
		}
		if s.Decides {
			line += ", decides"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
