package console

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Programs is what the console needs of the sums of what runs on machines: the same operations as the command line's.
type Programs interface {
	// Fired returns the rules that were exported to other enforcers, and since when what they stop is counted.
	Fired() (rules []FiredRule, since time.Time)
	Learned() []Learned
	// Decide accepts a proposal or dismisses it.
	Decide(ctx context.Context, by string, d LearnedDecision) error
}

// FiredRule is an exported rule and whether it ever fired.
type FiredRule struct {
	Enforcer, Key, App, Rule string
	Exported                 bool // else an enforcer names it, and this policy exports no such rule
	Times                    int64
	Last                     time.Time
	Hosts                    []string
}

// Learned is a proposal: what lockdown would stop on machines that learn.
type Learned struct {
	ID, Kind, Name       string // Kind is publisher, package or file
	Digest               string // of the files: what is accepted is what was shown
	Files                []LearnedFile
	Times                int64
	First, Last, ReadyAt time.Time
	Ready                bool // machines have learned for long enough
	Hosts                []string
	More                 bool // machines than are named
}

// LearnedFile is one program of a proposal.
type LearnedFile struct {
	Path, SHA256 string
	Times        int64
}

// LearnedDecision is what an administrator decides about a proposal.
type LearnedDecision struct {
	ID, Digest, Kind, Name, Reason string // Kind is host, person or group
	Dismiss                        bool
	For                            time.Duration
}

// programRows bounds the rules and proposals of a page, programFiles the files shown of one proposal.
const (
	programRows  = 300
	programFiles = 20
)

type firedData struct {
	Rules           []FiredRule
	Since           time.Time
	Enforcers       []string
	Enforcer, Show  string // what is asked for
	Exported, Never int
	More            int
}

var errNoSums = usageError("This server keeps no sums of programs.")

// fired shows which exported rules fired, and which never did.
func (c *Console) fired(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	if c.Deps.Programs == nil {
		return "", nil, errNoSums
	}
	all, since := c.Deps.Programs.Fired()
	d := firedData{Since: since, Enforcer: r.FormValue("enforcer"), Show: r.FormValue("show")}
	for _, f := range all {
		if n := len(d.Enforcers); n == 0 || d.Enforcers[n-1] != f.Enforcer { // they come by enforcer
			d.Enforcers = append(d.Enforcers, f.Enforcer)
		}
		if d.Enforcer != "" && d.Enforcer != f.Enforcer {
			continue
		}
		if f.Exported {
			d.Exported++
		}
		if f.never() {
			d.Never++
		}
		if d.shows(&f) {
			d.Rules = append(d.Rules, f)
		}
	}
	d.More = max(0, len(d.Rules)-programRows)
	d.Rules = d.Rules[:len(d.Rules)-d.More]
	return "fired", d, nil
}

// never reports whether an exported rule never fired.
func (f *FiredRule) never() bool { return f.Exported && f.Times == 0 }

func (d *firedData) shows(f *FiredRule) bool {
	switch d.Show {
	case "never":
		return f.never()
	case "fired":
		return f.Times > 0
	case "other":
		return !f.Exported
	}
	return true
}

type learnedData struct {
	Said      string
	Proposals []Learned
	Ready     int
	More      int
	Fleet     bool // there is somebody to approve for
	At        string
}

func (c *Console) learned(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	return c.learnedPage("", r.FormValue("id"))
}

func (c *Console) learnedPage(said, at string) (string, any, error) {
	if c.Deps.Programs == nil {
		return "", nil, errNoSums
	}
	d := learnedData{Said: said, Proposals: c.Deps.Programs.Learned(), Fleet: c.Deps.Fleet != nil, At: at}
	for _, p := range d.Proposals {
		if p.Ready {
			d.Ready++
		}
	}
	d.More = max(0, len(d.Proposals)-programRows)
	d.Proposals = d.Proposals[:len(d.Proposals)-d.More]
	return "learned", d, nil
}

// Shown are the files of a proposal that a page has room for, and how many there are besides.
func (l Learned) Shown() []LearnedFile { return l.Files[:min(len(l.Files), programFiles)] }

// Besides counts the files that are not shown.
func (l Learned) Besides() int { return max(0, len(l.Files)-programFiles) }

// decideLearned accepts a proposal or dismisses it.
func (c *Console) decideLearned(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if c.Deps.Programs == nil {
		return "", nil, errNoSums
	}
	value := func(name string) string { return strings.TrimSpace(cut(r.PostFormValue(name), 1000)) }
	days, _ := strconv.Atoi(value("days")) // what is no number is refused as too short
	d := LearnedDecision{ID: value("id"), Digest: value("digest"), Kind: value("kind"), Name: value("name"), Reason: value("reason"), For: time.Duration(min(max(days, 0), 366)) * 24 * time.Hour}
	said := ""
	switch value("what") {
	case "accept":
		if d.Name == "" {
			said = "Nothing was changed: name the host, person or group for whom it is."
		}
	case "dismiss":
		if d.Dismiss = true; d.Reason == "" {
			said = "Nothing was changed: say why it is dismissed."
		}
	default:
		said = "Nothing was changed: a proposal is accepted or dismissed."
	}
	if said == "" {
		err := c.Deps.Programs.Decide(r.Context(), s.Account, d)
		if err == nil {
			http.Redirect(w, r, "/learned", http.StatusSeeOther)
			return "", nil, nil
		}
		c.Log.Warn("decide about a proposal", "id", d.ID, "by", s.Account, "error", err)
		said = "It was not done, or not all of it: " + err.Error() + "."
	}
	return c.learnedPage(said, d.ID)
}
