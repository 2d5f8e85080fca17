package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

// TestLintOfEachKind: facts of each kind that are well formed and yet wrong; the place and kind stand in the problem.
func TestLintOfEachKind(t *testing.T) {
	windows := func(program string) string { return dated + "programs: {windows: [" + program + "]}" }
	linux := func(program string) string { return dated + "programs: {linux: [" + program + "]}" }
	mac := func(program string) string { return dated + "programs: {macos: [" + program + "]}" }
	address := func(a string) string { return dated + "addresses: [" + a + "]" }
	traffic := func(t string) string { return dated + "traffic: [" + t + "]" }
	for title, test := range map[string]struct {
		bodies []string
		want   string // the one problem; "" for none
	}{
		"loopback":              {[]string{address("{cidr: 127.0.0.0/24}")}, "apps/a.yaml: address:127.0.0.0/24: is not a public address range"},
		"link-local":            {[]string{address("{cidr: 169.254.0.0/16}")}, "apps/a.yaml: address:169.254.0.0/16: is not a public address range"},
		"carrier NAT":           {[]string{address("{cidr: 100.64.7.0/24}")}, "apps/a.yaml: address:100.64.7.0/24: is not a public address range"},
		"unique local":          {[]string{address(`{cidr: "fd00:1::/32"}`)}, "apps/a.yaml: address:fd00:1::/32: is not a public address range"},
		"narrow enough":         {[]string{address("{cidr: 16.0.0.0/12}")}, ""},
		"just too wide":         {[]string{address("{cidr: 16.0.0.0/11}")}, "apps/a.yaml: address:16.0.0.0/11: is wider than /12"},
		"low said of address":   {[]string{address("{cidr: 198.51.100.0/24, confidence: low}")}, ""},
		"two share an address":  {[]string{address("{cidr: 198.51.100.0/24, shared: true}"), address("{cidr: 198.51.100.0/24, shared: true}")}, ""},
		"two claim an address":  {[]string{address("{cidr: 198.51.100.0/24}"), address("{cidr: 198.51.100.0/24}")}, "apps/b.yaml: address:198.51.100.0/24: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"range in a range":      {[]string{address("{cidr: 198.51.100.0/24}"), address("{cidr: 198.51.100.0/25}")}, ""},
		"traffic without id":    {[]string{traffic("{transport: tcp, decoder: d, confidence: low}")}, "apps/a.yaml: traffic:: has no id"},
		"traffic is fine":       {[]string{traffic("{id: x, transport: quic, decoder: d, confidence: exact}")}, ""},
		"traffic of one id":     {[]string{traffic("{id: x, transport: udp, decoder: d, confidence: low}"), traffic("{id: x, transport: udp, decoder: d, confidence: low}")}, ""},
		"empty package":         {[]string{linux(`{deb: [""]}`)}, "apps/a.yaml: deb:: is empty"},
		"blank bundle":          {[]string{mac(`{bundle: " "}`)}, "apps/a.yaml: bundle: : is empty"},
		"package twice":         {[]string{linux("{deb: [chat, Chat]}")}, "apps/a.yaml: deb:Chat: is stated twice"},
		"two claim a flatpak":   {[]string{linux("{flatpak: [x.Y]}"), linux("{flatpak: [X.y]}")}, "apps/b.yaml: flatpak:X.y: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"two claim a desktop":   {[]string{linux("{desktop: [chat]}"), linux("{desktop: [chat]}")}, "apps/b.yaml: desktop:chat: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"two bear an exe":       {[]string{windows("{exe: chat.exe}"), windows("{exe: Chat.exe}")}, ""},
		"two bear a product":    {[]string{windows("{product: [Chat]}"), windows("{product: [Chat]}")}, ""},
		"team twice in one":     {[]string{mac("{bundle: x.a, team: ABCDE12345}, {bundle: x.b, team: ABCDE12345}")}, ""},
		"two claim a team":      {[]string{mac("{team: ABCDE12345}"), mac("{team: ABCDE12345}")}, "apps/b.yaml: team:ABCDE12345: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"two share a team":      {[]string{mac("{team: ABCDE12345, shared_team: true}"), mac("{team: ABCDE12345, shared_team: true}")}, ""},
		"team in lower case":    {[]string{mac("{team: abcde12345}")}, "apps/a.yaml: team:abcde12345: is not an Apple team identifier (10 capitals and digits)"},
		"code in braces":        {[]string{windows(`{upgrade: ["{0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0}"]}`)}, ""},
		"code of two":           {[]string{windows("{upgrade: [0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0]}"), windows(`{upgrade: ["{0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0}"]}`)}, "apps/b.yaml: upgrade-code:{0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0}: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"hash in capitals":      {[]string{dated + "programs: {hashes: [{sha256: 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08}]}"}, ""},
		"hash too short":        {[]string{dated + "programs: {hashes: [{sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0}]}"}, "apps/a.yaml: hash:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0: is not a SHA-256 in hex"},
		"build id of 8 bytes":   {[]string{dated + "programs: {build_ids: [{id: 0B2588D040195D37}]}"}, ""},
		"build id too short":    {[]string{dated + "programs: {build_ids: [{id: 0b2588d0}]}"}, "apps/a.yaml: build-id:0b2588d0: is not a build id in hex (8 to 64 bytes, as file prints it)"},
		"build id of two":       {[]string{dated + "programs: {build_ids: [{id: 0b2588d040195d37}]}", dated + "programs: {build_ids: [{id: 0B2588D040195D37}]}"}, "apps/b.yaml: build-id:0B2588D040195D37: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"publisher of nothing":  {[]string{windows(`{publishers: [{subject: " "}]}`)}, "apps/a.yaml: publisher: : is not a certificate subject"},
		"shared with products":  {[]string{windows("{product: [P], publishers: [{subject: O=A, shared: true}]}"), windows("{product: [Q], publishers: [{subject: O=A, shared: true}]}")}, ""},
		"shared only in one":    {[]string{windows("{publishers: [{subject: O=A}]}"), windows("{product: [P], publishers: [{subject: O=A, shared: true}]}")}, ""},
		"parts in other order":  {[]string{windows("{publishers: [{subject: 'O=A, C=CH'}]}"), windows("{publishers: [{subject: 'c=ch; o=a'}]}")}, "apps/b.yaml: publisher:c=ch; o=a: is claimed by a too; mark it shared in both and name the products"},
		"shared infrastructure": {[]string{dated + "names: {service: [{suffix: qq.com, shared: true}]}"}, ""},
		"below infrastructure":  {[]string{dated + "names: {service: [im.qq.com]}"}, ""},
		"store":                 {[]string{dated + "history: {linux: [.chat/*/main.db], windows: [AppData/Chat/db]}"}, ""},
		"store of two":          {[]string{dated + "history: {linux: [.chat/db]}", dated + "history: {linux: [.chat/db]}"}, "apps/b.yaml: history:.chat/db: is claimed by a too; a fact of two messengers must be marked shared in both"},
		"store of one name":     {[]string{dated + "history: {linux: [.chat]}"}, "apps/a.yaml: history:.chat: is not a path below a home folder: two names at least, slashes between them, no .. and no * in the last"},
		"store above":           {[]string{dated + "history: {linux: [a/../b]}"}, "apps/a.yaml: history:a/../b: is not a path below a home folder: two names at least, slashes between them, no .. and no * in the last"},
		"store from the root":   {[]string{dated + "history: {linux: [/a/b]}"}, "apps/a.yaml: history:/a/b: is not a path below a home folder: two names at least, slashes between them, no .. and no * in the last"},
		"store of any name":     {[]string{dated + "history: {linux: [a/*.db]}"}, "apps/a.yaml: history:a/*.db: is not a path below a home folder: two names at least, slashes between them, no .. and no * in the last"},
		"web application":       {[]string{dated + "programs: {any: [{web_app: [abcdefghijklmnopabcdefghijklmnop]}]}"}, ""},
		"no web application":    {[]string{dated + "programs: {any: [{web_app: [abcdefghijklmnopqrstuvwxyz012345]}]}"}, "apps/a.yaml: web-app:abcdefghijklmnopqrstuvwxyz012345: is not the id of a web application (32 letters a to p)"},
		"python twice":          {[]string{dated + "programs: {any: [{python: [chat-client, Chat_Client]}]}"}, "apps/a.yaml: python:Chat_Client: is stated twice"},
		"name with a dash":      {[]string{dated + "names: {service: [-a.example.net]}"}, "apps/a.yaml: name:-a.example.net: is not a domain name in lower case"},
		"name with an end dot":  {[]string{dated + "names: {service: [a.example.net.]}"}, "apps/a.yaml: name:a.example.net.: is not a domain name in lower case"},
		"name in two services":  {[]string{dated + "names: {service: [a.example.net], web: [a.example.net]}"}, "apps/a.yaml: name:a.example.net: is stated twice"},
		"month 13":              {[]string{"sources: [\"vendor, 2026-13\"]\nnames: {service: [a.example.net]}"}, "apps/a.yaml: name:a.example.net: has no source with a date (YYYY-MM), neither of its own nor in sources"},
		"one dated of two":      {[]string{"sources: [vendor, \"page, 2026-01\"]\nnames: {service: [a.example.net]}"}, ""},
		"own source undated":    {[]string{dated + "names: {service: [{suffix: a.example.net, source: vendor}]}"}, "apps/a.yaml: name:a.example.net: has no source with a date (YYYY-MM), neither of its own nor in sources"},
		"token of five":         {[]string{linux("{tokens: [abcde]}")}, "apps/a.yaml: token:abcde: is shorter than 6 bytes: other programs will contain it by chance"},
		"token in two systems":  {[]string{dated + "programs: {windows: [{tokens: [distinctive]}], linux: [{tokens: [distinctive]}]}"}, ""},
		"tokens by case":        {[]string{linux("{tokens: [distinctive]}"), linux("{tokens: [Distinctive]}")}, ""},
	} {
		t.Run(title, func(t *testing.T) {
			if got := strings.Join(linted(t, test.bodies...), "\n"); got != test.want {
				t.Errorf("problems are\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestLintIsSorted by file and fact, each problem once.
func TestLintIsSorted(t *testing.T) {
	got := linted(t, "names: {service: [z.example.net, com]}", dated, "addresses: [{cidr: 10.0.0.0/8}]")
	want := []string{"apps/a.yaml: name:com: has no source", "apps/a.yaml: name:com: has one label only", "apps/a.yaml: name:z.example.net: has no source", "apps/b.yaml: states no fact",
		"apps/c.yaml: address:10.0.0.0/8: has no source", "apps/c.yaml: address:10.0.0.0/8: is wider than /12"}
	if len(got) != len(want) {
		t.Fatalf("problems %q", got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%d: %s, want %s", i, got[i], want[i])
		}
	}
}

// TestSelfTestOfEachKind: what a look-up gives to another messenger than the one that states it.
func TestSelfTestOfEachKind(t *testing.T) {
	for title, test := range map[string]struct{ a, b, want string }{
		"names apart":      {"names: {service: [a.example.net]}", "names: {service: [b.example.net]}", ""},
		"one name":         {"names: {service: [a.example.net]}", "names: {service: [a.example.net]}", "is also found for b; is also found for a"},
		"one range":        {"addresses: [{cidr: 198.51.100.0/24}]", "addresses: [{cidr: 198.51.100.0/24}]", "is also found for b; is also found for a"},
		"hidden range":     {"addresses: [{cidr: 198.51.100.0/24}]", "addresses: [{cidr: 198.51.100.0/25}]", "is not found by its look-up"},
		"one bundle":       {"programs: {macos: [{bundle: x.y}]}", "programs: {macos: [{bundle: X.Y}]}", "is also found for b; is also found for a"},
		"one exe":          {"programs: {windows: [{exe: x.exe}]}", "programs: {windows: [{exe: x.exe}]}", ""},
		"one product":      {"programs: {windows: [{product: [X]}]}", "programs: {windows: [{product: [x]}]}", ""},
		"one publisher":    {"programs: {windows: [{publishers: [{subject: O=A}]}]}", "programs: {windows: [{publishers: [{subject: O=A}]}]}", "is also found for b; is also found for a"},
		"a wider subject":  {"programs: {windows: [{publishers: [{subject: O=A}]}]}", "programs: {windows: [{publishers: [{subject: 'O=A, OU=B'}]}]}", "is also found for a"},
		"shared publisher": {"programs: {windows: [{product: [X], publishers: [{subject: O=A, shared: true}]}]}", "programs: {windows: [{product: [Y], publishers: [{subject: O=A, shared: true}]}]}", ""},
		"shared product":   {"programs: {windows: [{product: [X], publishers: [{subject: O=A, shared: true}]}]}", "programs: {windows: [{product: [x], publishers: [{subject: O=A, shared: true}]}]}", `with product "X" is also found for b; with product "x" is also found for a`},
		"window that ends": {"programs: {windows: [{publishers: [{subject: O=A, to: 2020-01-01}]}]}", "programs: {linux: [{rpm: [x]}]}", ""},
	} {
		t.Run(title, func(t *testing.T) {
			c, err := catalog.Load(files(map[string]string{"a": "id: a\nname: A\n" + dated + test.a + "\n", "b": "id: b\nname: B\n" + dated + test.b + "\n"}))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range c.SelfTest() {
				got = append(got, p.Message)
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("self-test says %q, want %q", got, test.want)
			}
		})
	}
}

// TestAppsAsJSON: confidences are numbers, days and ranges words, and what is not said is not written.
func TestAppsAsJSON(t *testing.T) {
	app, _ := birds(t).App("pigeon")
	b, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"suffix":"pigeon.example"}`, `"confidence":0.8`, `"confidence":0.95`, `{"cidr":"198.51.100.0/24"}`,
		`"from":"2020-01-01","to":"2024-12-31"`, `{"subject":"CN=Giant Corp","shared":true}`, `{"text":"pigeon.example","bare":true}`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if strings.Contains(string(b), "file") || strings.Contains(string(b), `"publishers":null`) {
		t.Errorf("%s", b)
	}
}
