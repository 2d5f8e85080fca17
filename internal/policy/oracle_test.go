package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// wordOf makes a random word of few letters, so that patterns and words meet.
func wordOf(r *rand.Rand, letters string, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteByte(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// ruled compiles rules, written as JSON, in a policy that allows all else.
func ruled(t *testing.T, head string, rules ...map[string]any) *policy.Policy {
	t.Helper()
	b, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, "version: 1\n"+head+"otherwise: {network: allow}\nrules: "+string(b)+"\n")
}

func decided(p *policy.Policy, e *event.Event) string {
	return p.Decide(&policy.Input{Event: e, Now: monday, Final: true}).Rule
}

// TestPatternsAgreeWithRegexp: a pattern with stars matches what the regular expression of the same meaning does.
func TestPatternsAgreeWithRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	matched := 0
	for range 3000 {
		pattern := wordOf(r, "ab*.A", 6)
		if pattern == "" {
			continue
		}
		var parts []string
		for _, p := range strings.Split(pattern, "*") {
			parts = append(parts, regexp.QuoteMeta(p))
		}
		want := regexp.MustCompile("(?is)^" + strings.Join(parts, ".*") + "$")
		p := ruled(t, "", map[string]any{"id": "r", "rooms": []string{pattern}, "verdict": "block"})
		for range 10 {
			room := wordOf(r, "abB.", 8)
			e := &event.Event{Kind: event.Message, Room: event.Room{Name: room}}
			got := decided(p, e) == "r"
			if got != (room != "" && want.MatchString(room)) {
				t.Fatalf("the pattern %q on %q: %v", pattern, room, got)
			}
			if got {
				matched++
			}
		}
	}
	if matched < 500 {
		t.Errorf("only %d matched: the test says little", matched)
	}
}

// TestNamesAgreeWithTheirMeaning: a name is one of the list, or is below one that begins with a star.
func TestNamesAgreeWithTheirMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 2))
	name := func() string {
		var labels []string
		for range 1 + r.IntN(4) {
			labels = append(labels, []string{"a", "b", "A", "xn--c"}[r.IntN(4)])
		}
		return strings.Join(labels, ".")
	}
	matched := 0
	for range 1500 {
		var list []string
		for range 1 + r.IntN(3) {
			list = append(list, []string{"", "*."}[r.IntN(2)]+name())
		}
		p := ruled(t, "", map[string]any{"id": "r", "names": list, "verdict": "block"})
		for range 10 {
			asked := name() + []string{"", "."}[r.IntN(2)]
			want := false
			for _, l := range list {
				l, plain := strings.ToLower(l), strings.TrimSuffix(strings.ToLower(asked), ".")
				below, star := strings.CutPrefix(l, "*")
				want = want || plain == l || star && len(plain) > len(below) && strings.HasSuffix(plain, below)
			}
			for _, e := range []*event.Event{
				{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Proto: "tcp", Name: asked}}},
				{Kind: event.DNSQuery, Content: event.Content{Question: &event.Question{Name: asked}}},
			} {
				if got := decided(p, e) == "r"; got != want {
					t.Fatalf("names %q on the %s %q: %v", list, e.Kind, asked, got)
				}
			}
			if want {
				matched++
			}
		}
	}
	if matched < 500 {
		t.Errorf("only %d matched: the test says little", matched)
	}
}

// TestPortsAndAddressesAgreeWithArithmetic: ranges have both ends, and prefixes the addresses whose first bits are theirs.
func TestPortsAndAddressesAgreeWithArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 3))
	for range 300 {
		low := r.IntN(65536)
		high := min(65535, low+r.IntN(50))
		bits := r.IntN(33)
		base := r.Uint32()
		addr := func(n uint32) netip.Addr {
			return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		}
		ports := ruled(t, "", map[string]any{"id": "r", "ports": []string{fmt.Sprintf("%d-%d", low, high)}, "verdict": "block"})
		addresses := ruled(t, "", map[string]any{"id": "r", "addresses": []string{fmt.Sprintf("%s/%d", addr(base), bits)}, "verdict": "block"})
		for _, port := range []int{low - 1, low, (low + high) / 2, high, high + 1} {
			if port < 0 || port > 65535 {
				continue
			}
			n := base ^ 1<<r.IntN(32)
			a := addr(n)
			if r.IntN(2) == 0 {
				a = netip.AddrFrom16(a.As16()) // written as IPv6, it is the same address
			}
			e := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Proto: "tcp", Server: netip.AddrPortFrom(a, uint16(port)).String()}}}
			if got := decided(ports, e) == "r"; got != (low <= port && port <= high) {
				t.Fatalf("ports %d-%d on %d: %v", low, high, port, got)
			}
			if got := decided(addresses, e) == "r"; got != (bits == 0 || n>>(32-bits) == base>>(32-bits)) {
				t.Fatalf("%s/%d on %s: %v", addr(base), bits, a, got)
			}
		}
	}
}

// randomHours writes a random span, and a function that says by walking through the week whether a local time is in it.
func randomHours(r *rand.Rand) (string, func(local time.Time) bool) {
	days := []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
	first, last := r.IntN(7), r.IntN(7)
	from, length := r.IntN(24*4)*15, 15*(1+r.IntN(24*4-1))
	to := from + length // beyond 24:00 it is the next day
	if to == 24*60 && from == 0 {
		to -= 15
	}
	clock := func(m int) string {
		if m == 24*60 {
			return "24:00"
		}
		return fmt.Sprintf("%02d:%02d", m/60%24, m%60)
	}
	return fmt.Sprintf("%s-%s %s-%s", days[first], days[last], clock(from), clock(to)), func(local time.Time) bool {
		minute := local.Hour()*60 + local.Minute()
		for day := first; ; day = (day + 1) % 7 {
			if int(local.Weekday()) == day && minute >= from && minute < to || int(local.Weekday()) == (day+1)%7 && minute+24*60 < to {
				return true
			}
			if day == last {
				return false
			}
		}
	}
}

// TestHoursAgreeWithAWalk: random spans hold when a walk through the days and minutes says so, in zones whose clocks are turned.
func TestHoursAgreeWithAWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	held := 0
	for range 250 {
		zone := []string{"UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}[r.IntN(5)]
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		hours, holds := randomHours(r)
		p := ruled(t, "timezone: "+zone+"\n", map[string]any{"id": "r", "names": []string{"a.example"}, "hours": hours, "verdict": "block"})
		flow := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Name: "a.example"}}}
		for range 200 {
			at := time.Unix(1_767_225_600+r.Int64N(365*24*3600), 0) // in 2026
			got := p.Decide(&policy.Input{Event: flow, Now: at, Final: true}).Rule == "r"
			if got != holds(at.In(location)) {
				t.Fatalf("%s in %s at %s: %v", hours, zone, at.In(location), got)
			}
			if got {
				held++
			}
		}
	}
	if held < 5000 {
		t.Errorf("only %d moments held: the test says little", held)
	}
}

// TestNothingChangesBeforeTheNextChange: from any moment, the answer stays up to the next change, for random spans and ends in zones whose
// clocks are turned.
func TestNothingChangesBeforeTheNextChange(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 5))
	for range 150 {
		zone := []string{"UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe"}[r.IntN(4)]
		hours, _ := randomHours(r)
		other, _ := randomHours(r)
		p := ruled(t, "timezone: "+zone+"\n",
			map[string]any{"id": "until", "names": []string{"a.example"}, "hours": other, "until": fmt.Sprintf("2026-%02d-%02d", 1+r.IntN(12), 1+r.IntN(28)), "verdict": "allow"},
			map[string]any{"id": "hours", "names": []string{"a.example"}, "hours": hours, "verdict": "block"})
		flow := &event.Event{Kind: event.FlowSeen, Content: event.Content{Flow: &event.Flow{Name: "a.example"}}}
		answer := func(at time.Time) string {
			v := p.Decide(&policy.Input{Event: flow, Now: at, Final: true})
			return fmt.Sprint(v.Rule, v.Also)
		}
		for range 20 {
			at := time.Unix(1_767_225_600+r.Int64N(365*24*3600), 0)
			if r.IntN(3) == 0 { // about the nights in which clocks are turned
				at = time.Date(2026, []time.Month{3, 4, 10, 11}[r.IntN(4)], 1+r.IntN(31), r.IntN(24), r.IntN(60), 0, 0, time.UTC)
			}
			next, said := p.NextChange(at), answer(at)
			if !next.After(at) {
				t.Fatalf("after %v comes %v", at, next)
			}
			for step := at; step.Before(next) && step.Before(at.Add(48*time.Hour)); step = step.Add(7 * time.Minute) {
				if now := answer(step); now != said {
					t.Fatalf("%s and %s in %s: at %v it is %s, at %v %s, and the next change was said to be %v", other, hours, zone, at, said, step, now, next)
				}
			}
			if now := answer(next.Add(-time.Nanosecond)); now != said {
				t.Fatalf("%s and %s in %s: at %v it is %s, just before the next change at %v %s", other, hours, zone, at, said, next, now)
			}
		}
	}
}

// TestExplanationsAreTheDecision: for random policies and events the steps say what the verdict says: every rule has one, at most one decides, it
// is the first that matches with a verdict, and what matches after it is in Also.
func TestExplanationsAreTheDecision(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 6))
	results := map[string]int{}
	for range 150 {
		var rules []string
		for i := range 1 + r.IntN(8) {
			rules = append(rules, randomRule(r, fmt.Sprintf("r%d", i)))
		}
		p := compile(t, randomPolicy(r, "enforce", rules))
		verdictOf := map[string]string{}
		for _, info := range p.Rules() {
			verdictOf[info.ID] = info.Verdict
		}
		for range 40 {
			in := &policy.Input{Event: randomEvent(r), Final: true}
			in.Now = in.Event.Received
			x := p.Explain(in)
			if v := p.Decide(in); fmt.Sprint(v) != fmt.Sprint(x.Verdict) {
				t.Fatalf("decided %+v, explained %+v", v, x.Verdict)
			}
			if len(x.Steps) != len(rules) {
				t.Fatalf("%d steps of %d rules", len(x.Steps), len(rules))
			}
			first, also := "", []string(nil)
			for i, s := range x.Steps {
				results[s.Result]++
				if s.Rule != fmt.Sprintf("r%d", i) || s.Result == "no" && s.Matcher == "" || s.Result == "yes" && s.Matcher != "" {
					t.Fatalf("step %d: %+v", i, s)
				}
				if s.Result == "yes" && verdictOf[s.Rule] != "" && first == "" {
					first = s.Rule
				} else if s.Result == "yes" && first != "" {
					also = append(also, s.Rule)
				}
				if s.Decides != (s.Rule == x.Verdict.Rule) {
					t.Fatalf("step %+v of %+v", s, x.Verdict)
				}
			}
			if !slices.ContainsFunc(x.Steps, func(s policy.Step) bool { return s.Result == "error" }) && first != "" && (x.Verdict.Rule != first || !slices.Equal(x.Verdict.Also, also)) {
				t.Fatalf("%+v, but the steps say %s and besides %v: %+v\n%s", x.Verdict, first, also, x.Steps, strings.Join(rules, ""))
			}
		}
	}
	for _, want := range []string{"yes", "no", "other plane"} {
		if results[want] < 100 {
			t.Errorf("results %v", results)
		}
	}
}

// TestMemberAgreesWithTheRules: who belongs to a group for a matter belongs to it for a rule.
func TestMemberAgreesWithTheRules(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 7))
	p := compile(t, "version: 1\notherwise: {network: allow}\ngroups: {g1: {people: [p1]}, g2: {networks: [10.0.0.0/9], hosts: [\"k*\"]}, g3: {}}\nrules:\n"+
		"  - {id: g1, when: 'true', groups: [g1], review: q}\n  - {id: g2, when: 'true', groups: [g2], review: q}\n  - {id: g3, when: 'true', groups: [g3], review: q}\n")
	members := 0
	for range 2000 {
		in := &policy.Input{Event: randomEvent(r), Final: true}
		in.Event.Host = event.Host{Name: []string{"", "k1", "x"}[r.IntN(3)], Person: []string{"", "p1"}[r.IntN(2)]}
		for _, s := range p.Explain(in).Steps {
			got := p.Member(s.Rule, in)
			if got != (s.Result == "yes") {
				t.Fatalf("%s: a member %v, and the rule says %+v of %+v", s.Rule, got, s, in.Event)
			}
			if got {
				members++
			}
		}
		if p.Member("g4", in) || p.Member("", in) || p.Member("G1", in) {
			t.Fatal("a group that is none has a member")
		}
	}
	if members < 500 {
		t.Errorf("only %d members: the test says little", members)
	}
	if p.Member("g1", &policy.Input{Event: &event.Event{Kind: event.Act, From: event.Party{Person: "p1"}}}) {
		t.Error("an act is about a member")
	}
}

// TestReferenceIsWhole: every table that the page leads to is on it once, every key has a meaning, and every key that it names is taken.
func TestReferenceIsWhole(t *testing.T) {
	page := policy.Reference()
	heads := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(page, -1) {
		heads[strings.ToLower(m[1])]++
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(page, -1) {
		if heads[m[1]] != 1 {
			t.Errorf("a link leads to #%s, which is there %d times", m[1], heads[m[1]])
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| (.*) \\|$").FindAllStringSubmatch(page, -1)
	for _, m := range rows {
		if strings.TrimSpace(m[2]) == "" || len(m[3]) < 4 {
			t.Errorf("%s has the value %q and the meaning %q", m[1], m[2], m[3])
		}
	}
	if len(rows) < 60 || len(rows) != strings.Count(page, "\n| `") {
		t.Errorf("%d rows of %d", len(rows), strings.Count(page, "\n| `"))
	}
	file, _, _ := strings.Cut(page[strings.Index(page, "## File"):], "\n## Modes")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(file, -1) {
		if _, err := policy.Parse("p", []byte("version: 1\n"+m[1]+":\n")); err != nil && strings.Contains(err.Error(), "unknown key") {
			t.Errorf("the reference names %s, and the parser does not know it: %v", m[1], err)
		}
	}
}
