package catalog

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of how broad a fact may be before it catches what is no messenger.
const (
	minToken   = 6  // bytes
	widestIPv4 = 12 // bits
	widestIPv6 = 24
)

// Problem is one thing that is well formed and yet wrong.
type Problem struct {
	File    string `json:"file"`
	App     string `json:"app"`
	Fact    string `json:"fact,omitempty"` // e.g. name:telegram.org
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"` // to be looked at, and no failure
}

// String returns the problem in one line.
func (p Problem) String() string {
	text := p.File + ": "
	if p.Warning {
		text += "warning: "
	}
	if p.Fact != "" {
		text += p.Fact + ": "
	}
	return text + p.Message
}

// linter gathers problems over all apps.
type linter struct {
	problems []Problem
	claims   map[string][]claim // by kind and key
	pairs    map[string]string  // publisher and product → app
}

type claim struct {
	fact
	file string
}

// Lint returns what is wrong with the catalog: contradictions between messengers, facts so broad that they catch others, facts without a
// dated source, strengths that a fact of its kind cannot have. Sorted by file and fact.
func (c *Catalog) Lint() []Problem {
	l := &linter{claims: map[string][]claim{}, pairs: map[string]string{}}
	for i := range c.apps {
		app := &c.apps[i]
		facts := app.facts()
		if len(facts) == 0 {
			l.add(app.file, app.ID, "", "states no fact: nothing would ever be recognised as it")
		}
		for _, f := range facts {
			if message := check(&f); message != "" {
				l.add(app.file, app.ID, f.id(), message)
			}
			if !dated(f.source) {
				l.add(app.file, app.ID, f.id(), "has no source with a date (YYYY-MM), neither of its own nor in sources")
			}
			key := string(f.kind) + ":" + f.key
			l.claims[key] = append(l.claims[key], claim{f, app.file})
		}
		l.publishers(app)
		l.trafficIDs(app)
	}
	for _, claims := range l.claims {
		l.contradictions(claims)
	}
	slices.SortFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Fact, b.Fact), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(l.problems)
}

func (l *linter) add(file, app, fact, message string) {
	l.problems = append(l.problems, Problem{File: file, App: app, Fact: fact, Message: message})
}

// contradictions looks at all claims of one fact.
func (l *linter) contradictions(claims []claim) {
	first := claims[0]
	switch first.kind {
	case kindTraffic, kindProduct, kindExe, kindPublisher: // ids of their own, hints, and what publishers look at
		return
	}
	for _, other := range claims[1:] {
		switch {
		case other.app == first.app && other.system == first.system:
			if first.kind != kindTeam {
				l.add(other.file, other.app, other.id(), "is stated twice")
			}
		case other.app != first.app && !(first.shared && other.shared):
			l.add(other.file, other.app, other.id(), "is claimed by "+first.app+" too; a fact of two messengers must be marked shared in both")
		}
	}
}

// publishers looks at the windows of an app's publishers, and at who else claims them.
func (l *linter) publishers(app *App) {
	for i := range app.Programs.Windows {
		w := &app.Programs.Windows[i]
		for j := range w.Publishers {
			p := &w.Publishers[j]
			id := string(kindPublisher) + ":" + p.Subject
			if !p.To.IsZero() && p.To.Before(p.From.Time) {
				l.add(app.file, app.ID, id, "its time ends before it begins")
			}
			if p.Shared && len(w.Product) == 0 {
				l.add(app.file, app.ID, id, "is shared and stands without a product: it could never identify")
			}
			for k := range w.Publishers[:j] {
				if q := &w.Publishers[k]; sameSubject(p.Subject, q.Subject) && overlap(p, q) {
					l.add(app.file, app.ID, id, "is stated twice for times that overlap")
				}
			}
			l.claimPublisher(app, w, p, id)
		}
	}
}

func (l *linter) claimPublisher(app *App, w *WindowsProgram, p *Publisher, id string) {
	subject := subjectKey(p.Subject)
	claims := []string{"\x00" + subject}
	if p.Shared {
		claims = claims[:0]
		for _, product := range w.Product {
			claims = append(claims, strings.ToLower(product)+"\x00"+subject)
		}
	}
	for _, c := range claims {
		if other, taken := l.pairs[c]; taken && other != app.ID {
			what := "is claimed by " + other + " too; mark it shared in both and name the products"
			if p.Shared {
				product, _, _ := strings.Cut(c, "\x00")
				what = fmt.Sprintf("with product %q is claimed by %s too", product, other)
			}
			l.add(app.file, app.ID, id, what)
			continue
		}
		l.pairs[c] = app.ID
	}
}

func (l *linter) trafficIDs(app *App) {
	seen := map[string]bool{}
	for _, t := range app.Traffic {
		if seen[t.ID] {
			l.add(app.file, app.ID, "traffic:"+t.ID, "is stated twice")
		}
		seen[t.ID] = true
	}
}

func sameSubject(a, b string) bool { return subjectKey(a) == subjectKey(b) }

// subjectKey is equal for subjects whose parts are equal, in any order and spelling.
func subjectKey(s string) string {
	parts := parseSubject(s)
	slices.SortFunc(parts, func(a, b rdn) int {
		return cmp.Or(strings.Compare(a.attribute, b.attribute), strings.Compare(a.value, b.value))
	})
	return fmt.Sprint(parts)
}

func overlap(p, q *Publisher) bool {
	return (p.To.IsZero() || !p.To.Before(q.From.Time)) && (q.To.IsZero() || !q.To.Before(p.From.Time))
}

// dated reports whether a source says when it was true.
func dated(source string) bool { return datePattern.MatchString(source) }

var (
	datePattern    = regexp.MustCompile(`\b(19|20)\d\d-(0[1-9]|1[0-2])\b`)
	hashPattern    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	buildPattern   = regexp.MustCompile(`^([0-9a-f]{2}){8,64}$`)
	codePattern    = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	webAppPattern  = regexp.MustCompile(`^[a-p]{32}$`)
	historyPattern = regexp.MustCompile(`^[^/]+(/[^/]+)+$`)
	teamPattern    = regexp.MustCompile(`^[0-9A-Z]{10}$`)
	namePattern    = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// check says what is wrong with one fact by itself.
func check(f *fact) string {
	switch f.kind {
	case kindName:
		return checkName(f)
	case kindAddress:
		return checkAddress(f)
	case kindTraffic:
		return checkTraffic(f.traffic)
	case kindToken:
		if len(f.text) < minToken {
			return fmt.Sprintf("is shorter than %d bytes: other programs will contain it by chance", minToken)
		}
	case kindHistory:
		if strings.Contains("/"+f.text+"/", "/../") || strings.Contains(path.Base(f.text), "*") {
			return noHistory
		}
	case kindPublisher:
		if len(parseSubject(f.text)) == 0 {
			return "is not a certificate subject"
		}
	}
	return checkPattern(f)
}

const noHistory = "is not a path below a home folder: two names at least, slashes between them, no .. and no * in the last"

// checkPattern holds a fact against the pattern of its kind.
func checkPattern(f *fact) string {
	wrong := func(pattern *regexp.Regexp, text, message string) string {
		if pattern.MatchString(text) {
			return ""
		}
		return message
	}
	switch f.kind {
	case kindHash:
		return wrong(hashPattern, f.key, "is not a SHA-256 in hex")
	case kindBuildID:
		return wrong(buildPattern, f.key, "is not a build id in hex (8 to 64 bytes, as file prints it)")
	case kindUpgrade:
		return wrong(codePattern, f.key, "is not a GUID")
	case kindTeam:
		return wrong(teamPattern, f.text, "is not an Apple team identifier (10 capitals and digits)")
	case kindWebApp:
		return wrong(webAppPattern, f.text, "is not the id of a web application (32 letters a to p)")
	case kindHistory:
		return wrong(historyPattern, f.text, noHistory)
	case kindInstall:
		return checkInstall(f.text)
	}
	if strings.TrimSpace(f.text) == "" {
		return "is empty"
	}
	return ""
}

// checkInstall holds that a place is one program's own: a rule for it must not stop others.
func checkInstall(text string) string {
	place, folder := strings.CutSuffix(text, "/")
	names := strings.Split(strings.TrimPrefix(place, "/"), "/")
	switch {
	case !path.IsAbs(text) || path.Clean(place) != place || strings.ContainsFunc(text, unicode.IsControl):
		return "is not a whole path without .. and repeated slashes; that of a folder ends in a slash"
	case len(names) < 2, folder && names[0] != "opt" && len(names) < 3, folder && slices.Contains(sharedFolders(), place):
		return "is a folder of many programs: name the messenger's own"
	}
	return ""
}

// sharedFolders are those below which each program has a folder of its own.
func sharedFolders() []string {
	return []string{"/usr/local/bin", "/usr/local/lib", "/usr/local/libexec", "/usr/local/sbin", "/usr/local/share", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/share/applications", "/var/lib/flatpak", "/var/lib/snapd"}
}

func checkName(f *fact) string {
	switch {
	case !namePattern.MatchString(f.text):
		return "is not a domain name in lower case"
	case !strings.Contains(f.text, "."):
		return "has one label only: it would catch a whole top-level domain"
	case f.shared && f.stated > Strength(event.Low):
		return "is shared, and states a confidence above low"
	}
	if suffix, _ := publicsuffix.PublicSuffix(f.text); suffix == f.text {
		return "is a public suffix: it would catch names of others"
	}
	if slices.Contains(commonInfrastructure, f.text) && !f.shared {
		return "is infrastructure that many services use: name the host below it, or mark it shared"
	}
	return ""
}

// commonInfrastructure are domains under which many services live that are no public suffixes.
var commonInfrastructure = []string{
	"akadns.net", "akamai.net", "akamaihd.net", "amazonaws.com", "apple.com", "azure.com", "cloudapp.net", "facebook.com", "fbcdn.net", "google.com",
	"googleapis.com", "googleusercontent.com", "gstatic.com", "icloud.com", "live.com", "microsoft.com", "msn.com", "office.com", "office.net", "qq.com",
	"tencent.com", "kakao.com", "trafficmanager.net", "aol.com", "yahoo.com",
}

func checkAddress(f *fact) string {
	p := f.address.CIDR.Prefix
	widest := widestIPv4
	if p.Addr().Is6() {
		widest = widestIPv6
	}
	switch {
	case p.Bits() < widest:
		return fmt.Sprintf("is wider than /%d", widest)
	case f.stated > Strength(event.Low):
		return "states a confidence above low: addresses change hands"
	case p.Addr().IsPrivate() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Overlaps(carrierNAT):
		return "is not a public address range"
	}
	return ""
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func checkTraffic(t *Traffic) string {
	switch {
	case t.ID == "":
		return "has no id"
	case t.Decoder == "":
		return "names no decoder"
	case t.Confidence == 0:
		return "states no confidence"
	case !slices.Contains([]string{"tcp", "udp", "quic"}, t.Transport):
		return fmt.Sprintf("transport is %q, must be tcp, udp or quic", t.Transport)
	}
	return ""
}
