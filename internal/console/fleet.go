package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fleet is what the console needs of the fleet server: the same operations as the command line's.
type Fleet interface {
	Machines() FleetView
	Approvals() (inForce []Approval, asked []ApprovalAsked)
	Campaigns() []Campaign
	// Do does one thing and returns what is to be shown once, as an enrolment code.
	Do(ctx context.Context, by string, do FleetAct) (string, error)
}

// FleetView is the machines of a fleet.
type FleetView struct {
	Hosts      []FleetHost // that belong to it or were put out, by name
	Pending    []FleetHost
	Codes      []FleetCode
	Generation uint64 // of what all are to have
	Since      time.Time
	Policy     string // version
}

// FleetHost is one machine with an agent.
type FleetHost struct {
	ID, Name, State, System, Version, Mode, From, Fingerprint, Code string
	Addresses                                                       []string
	Online, Current                                                 bool
	Generation                                                      uint64
	Seen, Asked, CertificateEnds                                    time.Time
	Trouble                                                         string
	Scanned                                                         time.Time // zero: never
	Unread                                                          int64     // files that could not be looked into
	Programs                                                        []FleetProgram
}

// FleetProgram is a messenger on a machine, as its last scan found it.
type FleetProgram struct {
	App, Version, Form, Path, SHA256, Publisher, Verdict, Rule string
	Certain                                                    bool
}

// FleetCode is an enrolment code without its secret.
type FleetCode struct {
	Name, By, Comment string
	Uses              int
	Until             time.Time
}

// Approval is an exception in force.
type Approval struct {
	ID, For, What, Reason, By string
	Until                     time.Time
}

// ApprovalAsked is a request for an exception.
type ApprovalAsked struct {
	ID, Host, User, What, Path, Reason string
	At                                 time.Time
}

// Campaign removes a messenger everywhere.
type Campaign struct {
	ID, App, Version, Action, Stage, Reason, By, Digest string
	Standing                                            string // the stage, and what of it did not succeed
	NotUndone                                           int    // machines that did not bring back all
	Made                                                time.Time
	Hosts                                               []CampaignHost
}

// CampaignHost is what a campaign does on one machine, and what became of it.
type CampaignHost struct {
	Name, Outcome string
	Canary, Held  bool
	Paths         []string
	Left          []LeftFile // that stay, as the evidence does not reach
	Failed        []string   // what went wrong, by file
	Reported      bool
	Missed        bool // it refused, or could not do all
}

// LeftFile is a file that a campaign leaves where it is.
type LeftFile struct{ Path, SHA256, Why string }

// Done counts the machines that have reported.
func (c Campaign) Done() int { return c.count(func(h *CampaignHost) bool { return h.Reported }) }

// Missed counts the machines that refused or could not do all.
func (c Campaign) Missed() int { return c.count(func(h *CampaignHost) bool { return h.Missed }) }

func (c Campaign) count(is func(h *CampaignHost) bool) int {
	n := 0
	for i := range c.Hosts {
		if is(&c.Hosts[i]) {
			n++
		}
	}
	return n
}

// May reports whether the campaign can go to a stage from where it is.
func (c Campaign) May(stage string) bool {
	if stage == "undoing" && c.NotUndone > 0 {
		return true
	}
	return slices.Contains(map[string][]string{"canary": {"planned"}, "all": {"canary", "stopped"}, "stopped": {"canary", "all", "undoing"}, "undoing": {"canary", "all", "stopped", "ended"}}[stage], c.Stage)
}

// FleetAct is one thing that an administrator does with a fleet.
type FleetAct struct {
	What                                             string // code, end-code, approve, refuse, allow, withdraw, plan, or the stage of a campaign
	ID, Kind, Name, App, SHA256, Version, Reason, To string
	Uses                                             int
	For                                              time.Duration
}

// fleetRows bounds the machines of a page.
const fleetRows = 300

type fleetData struct {
	FleetView
	Query, Said, Code string
	More              int
	Online, Behind    int
	Versions          []appVersion
}

// appVersion is how many machines have one version of a messenger.
type appVersion struct {
	App, Version  string
	Hosts         int
	Stopped, Sure int // of these
}

// byVersion counts messengers by version over all machines.
func byVersion(hosts []FleetHost) []appVersion {
	type key struct{ app, version string }
	found := map[key]*appVersion{}
	for _, h := range hosts {
		if h.State != "approved" { // put out: nothing can be removed there
			continue
		}
		for _, p := range h.Messengers() {
			if p.App == "" {
				continue
			}
			k := key{p.App, p.Version}
			v := found[k]
			if v == nil {
				v = &appVersion{App: p.App, Version: p.Version}
				found[k] = v
			}
			v.Hosts++
			if p.Verdict != "allow" {
				v.Stopped++
			}
			if p.Certain {
				v.Sure++
			}
		}
	}
	var out []appVersion
	for _, v := range found {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b appVersion) int {
		if a.Hosts != b.Hosts {
			return b.Hosts - a.Hosts
		}
		return strings.Compare(a.App+a.Version, b.App+b.Version)
	})
	return out[:min(len(out), fleetRows)]
}

var errNoFleet = usageError("This server serves no fleet: its configuration has no fleet.listen.")

func (c *Console) fleet(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	return c.fleetPage(r, "", "")
}

func (c *Console) fleetPage(r *http.Request, said, code string) (string, any, error) {
	if c.Deps.Fleet == nil {
		return "", nil, errNoFleet
	}
	d := fleetData{FleetView: c.Deps.Fleet.Machines(), Query: strings.TrimSpace(r.FormValue("q")), Said: said, Code: code}
	d.Versions = byVersion(d.Hosts)
	var shown []FleetHost
	for _, h := range d.Hosts {
		if h.Online {
			d.Online++
		}
		if h.State == "approved" && !h.Current {
			d.Behind++
		}
		if d.Query == "" || strings.Contains(strings.ToLower(h.Name+" "+h.From+" "+strings.Join(h.Addresses, " ")), strings.ToLower(d.Query)) || h.runs(d.Query) {
			shown = append(shown, h)
		}
	}
	d.More = max(0, len(shown)-fleetRows)
	d.Hosts = shown[:len(shown)-d.More]
	return "fleet", d, nil
}

// Messengers are the programs of a machine, each messenger once per version.
func (h FleetHost) Messengers() []FleetProgram {
	type key struct{ app, version string }
	seen := map[key]bool{}
	var out []FleetProgram
	for _, p := range h.Programs {
		if k := (key{p.App, p.Version}); !seen[k] {
			seen[k] = true
			out = append(out, p)
		}
	}
	return out
}

// runs reports whether a machine has a messenger.
func (h FleetHost) runs(app string) bool {
	return slices.ContainsFunc(h.Programs, func(p FleetProgram) bool { return p.App == app })
}

func (c *Console) fleetHost(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	if c.Deps.Fleet == nil {
		return "", nil, errNoFleet
	}
	view := c.Deps.Fleet.Machines()
	for _, h := range slices.Concat(view.Hosts, view.Pending) {
		if h.ID == r.FormValue("id") {
			return "fleethost", h, nil
		}
	}
	return "", nil, usageError("No machine of the fleet has that id.")
}

type approvalsData struct {
	Said    string
	InForce []Approval
	Asked   []ApprovalAsked
	Apps    map[string]string
}

func (c *Console) approvals(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	return c.approvalsPage("")
}

func (c *Console) approvalsPage(said string) (string, any, error) {
	if c.Deps.Fleet == nil {
		return "", nil, errNoFleet
	}
	d := approvalsData{Said: said, Apps: c.Apps}
	d.InForce, d.Asked = c.Deps.Fleet.Approvals()
	return "approvals", d, nil
}

type campaignsData struct {
	Said      string
	Campaigns []Campaign
	Apps      map[string]string
	One       *Campaign
}

func (c *Console) campaigns(_ http.ResponseWriter, r *http.Request, _ *session) (string, any, error) {
	return c.campaignsPage(r.FormValue("id"), "")
}

func (c *Console) campaignsPage(id, said string) (string, any, error) {
	if c.Deps.Fleet == nil {
		return "", nil, errNoFleet
	}
	d := campaignsData{Said: said, Campaigns: c.Deps.Fleet.Campaigns(), Apps: c.Apps}
	for i := range d.Campaigns {
		if d.Campaigns[i].ID == id {
			d.One = &d.Campaigns[i]
		}
	}
	if id != "" && d.One == nil {
		return "", nil, usageError("No campaign has that id.")
	}
	return "campaigns", d, nil
}

// fleetAct reads the one form that all acts on a fleet have.
func fleetAct(r *http.Request) (FleetAct, error) {
	value := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	a := FleetAct{What: value("what"), ID: value("id"), Kind: value("kind"), Name: value("name"), App: value("app"), SHA256: strings.ToLower(value("sha256")), Version: value("version"),
		Reason: value("reason"), To: value("plan")}
	for _, s := range []string{a.What, a.ID, a.Kind, a.Name, a.App, a.SHA256, a.Version, a.Reason, a.To} {
		if len(s) > 1000 {
			return a, errors.New("that is too long")
		}
	}
	a.Uses, _ = strconv.Atoi(value("uses")) // what is no number is refused as too few
	hours, _ := strconv.Atoi(value("hours"))
	a.For = time.Duration(min(max(hours, 0), 10_000)) * time.Hour
	return a, nil
}

// doFleet does one thing with the fleet and shows the page that it was asked on.
func (c *Console) doFleet(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	if c.Deps.Fleet == nil {
		return "", nil, errNoFleet
	}
	a, err := fleetAct(r)
	if r.URL.Path == "/approvals" && a.What != "allow" && a.What != "withdraw" {
		return "", nil, usageError("An exception is allowed or withdrawn, and nothing else is done here.")
	}
	shown := ""
	if err == nil {
		shown, err = c.Deps.Fleet.Do(r.Context(), s.Account, a)
	}
	said := ""
	if err != nil {
		c.Log.Warn("fleet", "what", a.What, "by", s.Account, "error", err)
		said = "Nothing was changed: " + err.Error() + "."
	}
	switch {
	case a.What == "allow" || a.What == "withdraw":
		if err == nil {
			http.Redirect(w, r, "/approvals", http.StatusSeeOther)
			return "", nil, nil
		}
		return c.approvalsPage(said)
	case slices.Contains([]string{"plan", "canary", "all", "stopped", "undoing"}, a.What):
		if err == nil {
			http.Redirect(w, r, link("/campaigns", "id", shown), http.StatusSeeOther)
			return "", nil, nil
		}
		return c.campaignsPage(a.ID, said)
	case err == nil && shown == "":
		http.Redirect(w, r, "/fleet", http.StatusSeeOther)
		return "", nil, nil
	}
	return c.fleetPage(r, said, shown)
}
