package catalog_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

func TestShippedCatalogIsClean(t *testing.T) {
	c := shipped(t)
	for _, p := range append(c.Lint(), c.SelfTest()...) {
		t.Error(p)
	}
	if n := len(c.Apps()); n < 40 {
		t.Errorf("%d messengers, want at least 40", n)
	}
}

// linted loads bodies, each under a head that is well formed, and returns what Lint says of them.
func linted(t *testing.T, bodies ...string) []string {
	t.Helper()
	texts := map[string]string{}
	for i, body := range bodies {
		id := string(rune('a' + i))
		texts[id] = "id: " + id + "\nname: X\n" + body + "\n"
	}
	c, err := catalog.Load(files(texts))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range c.Lint() {
		out = append(out, p.String())
	}
	return out
}

const dated = `sources: ["vendor, 2026-01"]` + "\n"

func TestLintNamesWhatIsWrong(t *testing.T) {
	name := func(fact string) string { return dated + "names: {service: [" + fact + "]}" }
	windows := func(program string) string { return dated + "programs: {windows: [" + program + "]}" }
	linux := func(program string) string { return dated + "programs: {linux: [" + program + "]}" }
	for title, test := range map[string]struct {
		bodies []string
		want   string // of the one problem; "" for none
	}{
		"fine":                    {[]string{name("a.example.net")}, ""},
		"nothing stated":          {[]string{dated}, "states no fact"},
		"no source":               {[]string{"names: {service: [a.example.net]}"}, "has no source with a date"},
		"source without date":     {[]string{"names: {service: [{suffix: a.example.net, source: vendor}]}"}, "has no source with a date"},
		"one label":               {[]string{name("com")}, "has one label only"},
		"public suffix":           {[]string{name("co.uk")}, "is a public suffix"},
		"hosting suffix":          {[]string{name("appspot.com")}, "is a public suffix"},
		"infrastructure":          {[]string{name("microsoft.com")}, "is infrastructure that many services use"},
		"shared infrastructure":   {[]string{name("{suffix: googleapis.com, shared: true}")}, "is a public suffix"},
		"installed":               {[]string{linux("{install: [/opt/a/, /usr/lib/a/, /usr/bin/a, \"/opt/A b/\"]}")}, ""},
		"installed somewhere":     {[]string{linux("{install: [opt/a/]}")}, "is not a whole path"},
		"installed above":         {[]string{linux("{install: [/opt/a/../]}")}, "is not a whole path"},
		"installed in /usr/bin":   {[]string{linux("{install: [/usr/bin/]}")}, "is a folder of many programs"},
		"installed in /opt":       {[]string{linux("{install: [/opt/]}")}, "is a folder of many programs"},
		"installed in lib":        {[]string{linux("{install: [/usr/local/lib/]}")}, "is a folder of many programs"},
		"installed everywhere":    {[]string{linux("{install: [/]}")}, "is not a whole path"},
		"upper case":              {[]string{name("A.example.net")}, "is not a domain name in lower case"},
		"wildcard":                {[]string{name(`"*.example.net"`)}, "is not a domain name in lower case"},
		"shared and high":         {[]string{name("{suffix: a.example.net, shared: true, confidence: high}")}, "is shared, and states a confidence above low"},
		"two claim a name":        {[]string{name("a.example.net"), name("a.example.net")}, "b.yaml: name:a.example.net: is claimed by a too"},
		"one shares, one claims":  {[]string{name("{suffix: a.example.net, shared: true}"), name("a.example.net")}, "is claimed by a too"},
		"both share":              {[]string{name("{suffix: a.example.net, shared: true}"), name("{suffix: a.example.net, shared: true}")}, ""},
		"longer name of other":    {[]string{name("example.net"), name("a.example.net")}, ""},
		"name twice":              {[]string{name("a.example.net, a.example.net")}, "is stated twice"},
		"wide IPv4":               {[]string{dated + "addresses: [{cidr: 16.0.0.0/8}]"}, "is wider than /12"},
		"wide IPv6":               {[]string{dated + `addresses: [{cidr: "2001::/16"}]`}, "is wider than /24"},
		"sure of address":         {[]string{dated + "addresses: [{cidr: 198.51.100.0/24, confidence: medium}]"}, "states a confidence above low"},
		"private address":         {[]string{dated + "addresses: [{cidr: 192.168.0.0/16}]"}, "is not a public address range"},
		"short token":             {[]string{windows("{tokens: [short]}")}, "is shorter than 6 bytes"},
		"two claim a token":       {[]string{windows("{tokens: [distinctive]}"), windows("{tokens: [distinctive]}")}, "is claimed by a too"},
		"two claim a package":     {[]string{linux("{deb: [chat]}"), linux("{deb: [chat]}")}, "deb:chat: is claimed by a too"},
		"other manager":           {[]string{linux("{deb: [chat]}"), linux("{rpm: [chat]}")}, ""},
		"two claim a bundle":      {[]string{dated + "programs: {macos: [{bundle: net.example}]}", dated + "programs: {macos: [{bundle: net.example}]}"}, "is claimed by a too"},
		"bad team":                {[]string{dated + "programs: {macos: [{team: short}]}"}, "is not an Apple team identifier"},
		"bad hash":                {[]string{dated + "programs: {hashes: [{sha256: abc}]}"}, "is not a SHA-256 in hex"},
		"bad upgrade code":        {[]string{windows("{upgrade: [abc]}")}, "is not a GUID"},
		"time inverted":           {[]string{windows("{publishers: [{subject: O=A, from: 2024-01-02, to: 2024-01-01}]}")}, "its time ends before it begins"},
		"times overlap":           {[]string{windows("{publishers: [{subject: O=A, to: 2024-01-02}, {subject: o=a, from: 2024-01-02}]}")}, "for times that overlap"},
		"times follow":            {[]string{windows("{publishers: [{subject: O=A, to: 2024-01-01}, {subject: O=A, from: 2024-01-02}]}")}, ""},
		"two claim a publisher":   {[]string{windows("{publishers: [{subject: O=A}]}"), windows("{publishers: [{subject: O=A}]}")}, "is claimed by a too"},
		"shared without product":  {[]string{windows("{publishers: [{subject: O=A, shared: true}]}")}, "stands without a product"},
		"two claim one product":   {[]string{windows("{product: [P], publishers: [{subject: O=A, shared: true}]}"), windows("{product: [p], publishers: [{subject: O=A, shared: true}]}")}, `with product "p" is claimed by a too`},
		"traffic without decoder": {[]string{dated + "traffic: [{id: x, transport: tcp, confidence: low}]"}, "names no decoder"},
		"traffic transport":       {[]string{dated + "traffic: [{id: x, transport: sctp, decoder: d, confidence: low}]"}, "must be tcp, udp or quic"},
		"traffic confidence":      {[]string{dated + "traffic: [{id: x, transport: tcp, decoder: d}]"}, "states no confidence"},
		"traffic twice":           {[]string{dated + "traffic: [{id: x, transport: tcp, decoder: d, confidence: low}, {id: x, transport: tcp, decoder: d, confidence: low}]"}, "is stated twice"},
	} {
		t.Run(title, func(t *testing.T) {
			got := linted(t, test.bodies...)
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("problems of a good catalog: %q", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("problems are %q, want one with %q", got, test.want)
			}
		})
	}
}

func TestSelfTestFindsWhatLookUpsConfuse(t *testing.T) {
	c, err := catalog.Load(files(map[string]string{
		"a": "id: a\nname: A\n" + dated + "programs: {linux: [{deb: [chat]}]}\n",
		"b": "id: b\nname: B\n" + dated + "programs: {linux: [{deb: [chat]}]}\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.SelfTest(); len(got) != 2 || got[0].Message != "is also found for b" {
		t.Errorf("self-test says %v", got)
	}
}
