package catalog_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestEveryMessengerIsRecognised holds, for every messenger, what users of it are seen with: a host, and the program of one system.
func TestEveryMessengerIsRecognised(t *testing.T) {
	c := shipped(t)
	const (
		deb       = "deb"
		flatpak   = "flatpak"
		bundle    = "bundle"
		publisher = "publisher"
		none      = ""
	)
	tests := []struct{ app, host, kind, program string }{
		{"delta_chat", "nine.testrun.org", flatpak, "chat.delta.desktop"},
		{"discord", "gateway.discord.gg", flatpak, "com.discordapp.Discord"},
		{"discord", "cdn.discordapp.com", bundle, "com.hnc.Discord"},
		{"element", "app.element.io", deb, "element-desktop"},
		{"facebook_messenger", "edge-chat.facebook.com", bundle, "com.facebook.archon"},
		{"google_chat", "chat.google.com", none, ""},
		{"google_hangouts", "hangouts.google.com", none, ""},
		{"google_meet", "meet.google.com", none, ""},
		{"hipchat", "downloads.hipchat.com", deb, "hipchat4"},
		{"imo", "imo.im", none, ""},
		{"irc", "irc.libera.chat", deb, "hexchat"},
		{"irc", "web.libera.chat", deb, "irssi"},
		{"jami", "dl.jami.net", deb, "jami"},
		{"kakaotalk", "booking.loco.kakao.com", bundle, "com.kakao.KakaoTalkMac"},
		{"line", "gd2.line.naver.jp", bundle, "jp.naver.line.mac"},
		{"matrix", "matrix-client.matrix.org", deb, "nheko"},
		{"mattermost", "releases.mattermost.com", bundle, "Mattermost.Desktop"},
		{"msn", "messenger.hotmail.com", none, ""},
		{"mumble", "publist.mumble.info", deb, "mumble"},
		{"oscar", "login.oscar.aol.com", none, ""},
		{"qq", "im.qq.com", flatpak, "com.qq.QQ"},
		{"rocket_chat", "open.rocket.chat", publisher, "CN=Rocket.Chat Technologies Corp., O=Rocket.Chat Technologies Corp., C=US"},
		{"session", "filev2.getsession.org", bundle, "com.loki-project.messenger-desktop"},
		{"signal", "chat.signal.org", publisher, "CN=Signal Messenger\\, LLC, O=Signal Messenger\\, LLC"},
		{"signal", "textsecure-service.whispersystems.org", deb, "signal-desktop"},
		{"sip", "sip.linphone.org", deb, "linphone-desktop"},
		{"skype", "api.skype.com", publisher, "CN=Skype Software Sarl, O=Skype Software Sarl, L=Luxembourg"},
		{"skype_for_business", "webdir.online.lync.com", bundle, "com.microsoft.SkypeForBusiness"},
		{"slack", "wss-primary.slack.com", publisher, `O="Slack Technologies, Inc."`},
		{"snapchat", "gcp.api.snapchat.com", none, ""},
		{"teams", "teams.microsoft.com", bundle, "com.microsoft.teams2"},
		{"teamspeak", "clientapi.teamspeak.com", publisher, "O=TeamSpeak Systems GmbH"},
		{"telegram", "venus.web.telegram.org", deb, "telegram-desktop"},
		{"threema", "g-00.0.threema.ch", publisher, "O=Threema GmbH"},
		{"tox", "nodes.tox.chat", deb, "qtox"},
		{"viber", "dl-media.viber.com", publisher, "O=Viber Media S.à r.l., C=LU"},
		{"webex", "idbroker.webex.com", bundle, "Cisco-Systems.Spark"},
		{"wechat", "szshort.weixin.qq.com", bundle, "com.tencent.xinWeChat"},
		{"whatsapp", "mmg.whatsapp.net", publisher, "CN=WhatsApp LLC, O=WhatsApp LLC"},
		{"wire", "prod-nginz-https.wire.com", bundle, "com.wearezeta.zclient.mac"},
		{"xmpp", "conversations.im", deb, "gajim"},
		{"xmpp", "xmpp.jp", deb, "profanity"},
		{"zoom", "us04web.zoom.us", publisher, "O=Zoom Video Communications, Inc., L=San Jose"},
	}
	known := map[string]bool{"skype_teams": true} // media of two products, of which only addresses and traffic tell
	for _, test := range tests {
		known[test.app] = true
		if m, ok := c.Name(test.host); !ok || m.App != test.app {
			t.Errorf("%s is %q, want %s", test.host, m.App, test.app)
		}
		var found []catalog.Match
		switch test.kind {
		case deb, flatpak:
			found = c.ByPackage(test.kind, test.program)
		case bundle:
			found = c.ByBundle(test.program)
		case publisher:
			found = c.ByPublisher(test.program, time.Time{})
		case none:
			continue
		}
		if len(found) != 1 || found[0].App != test.app || !found[0].Identity {
			t.Errorf("%s %s is %+v, want %s", test.kind, test.program, found, test.app)
		}
	}
	for _, app := range c.Apps() {
		if !known[app.ID] {
			t.Errorf("no case knows %s", app.ID)
		}
	}
}

func TestAppsAreListedAndFound(t *testing.T) {
	c := shipped(t)
	apps := c.Apps()
	for i, app := range apps {
		if i > 0 && apps[i-1].ID >= app.ID {
			t.Errorf("%s comes after %s", app.ID, apps[i-1].ID)
		}
		same, ok := c.App(app.ID)
		if !ok || same.Name != app.Name {
			t.Errorf("%s is listed and not found", app.ID)
		}
		for _, f := range app.Facts() {
			if f.Kind == "" || f.Text == "" || f.Source == "" || f.Strength < event.Low || f.Strength > event.Exact {
				t.Errorf("%s states %+v", app.ID, f)
			}
			if f.Shared && (f.Identity || f.Strength > event.Medium) {
				t.Errorf("%s: a shared fact is strong: %+v", app.ID, f)
			}
		}
	}
	apps[0].ID = "changed"
	if again := c.Apps(); again[0].ID == "changed" {
		t.Error("a caller can change the list")
	}
	if _, ok := c.App("nobody"); ok {
		t.Error("found a messenger that is not there")
	}
}

func TestLongestRangeWins(t *testing.T) {
	c, err := catalog.Load(files(map[string]string{
		"a": "id: a\nname: A\n" + dated + "addresses: [{cidr: 198.51.100.0/24}, {cidr: \"2001:db8::/32\"}]\n",
		"b": "id: b\nname: B\n" + dated + "addresses: [{cidr: 198.51.100.128/25}, {cidr: 198.51.100.7/32}, {cidr: \"2001:db8:1::/48\"}]\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"198.51.100.1": "a/", "198.51.100.7": "b/", "198.51.100.127": "a/", "198.51.100.128": "b/", "198.51.101.1": "",
		"2001:db8::1": "a/", "2001:db8:1::1": "b/", "2001:db8:2::1%eth0": "a/", "2001:db9::1": "",
	} {
		if got := first(c.ByAddress(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s is %q, want %q", addr, got, want)
		}
	}
}

func TestSharedFactsSpeakForAll(t *testing.T) {
	one := func(id string) string {
		return "id: " + id + "\nname: X\n" + dated + "names: {login: [{suffix: login.example.net, shared: true}]}\n"
	}
	c, err := catalog.Load(files(map[string]string{"a": one("a"), "b": one("b")}))
	if err != nil {
		t.Fatal(err)
	}
	found := c.ByName("login.example.net")
	if len(found) != 2 || found[0].App == found[1].App {
		t.Fatalf("found %+v", found)
	}
	for _, m := range found {
		if m.Evidence.Strength != event.Low || m.Service != "login" {
			t.Errorf("match is %+v", m)
		}
	}
	if m, ok := c.Name("login.example.net"); !ok || !m.Shared {
		t.Errorf("Name says %+v", m)
	}
}

func TestJSONSpeaksTheContract(t *testing.T) {
	app, err := catalog.Parse("apps/a.yaml", []byte(`
id: a
name: A
names: {service: [{suffix: a.example.net, confidence: medium}, b.example.net]}
addresses: [{cidr: 198.51.100.0/24}]
programs: {windows: [{publishers: [{subject: O=A, from: 2024-02-29}]}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"suffix":"a.example.net","confidence":0.8`, `{"suffix":"b.example.net"}`, `"cidr":"198.51.100.0/24"`, `"from":"2024-02-29"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
	if strings.Contains(string(b), `"to"`) {
		t.Errorf("an open end is written: %s", b)
	}
}
