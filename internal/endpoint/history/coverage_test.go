package history

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

// TestEveryClientHasAPlace asks the catalog of each messenger with a program for desktops where it keeps conversations, on each system that it
// has a program for.
func TestEveryClientHasAPlace(t *testing.T) {
	none := map[string]string{
		"mumble":             "keeps no conversations",
		"oscar":              "its clients are gone, and were many",
		"google_hangouts":    "its client is gone, and kept conversations at the server",
		"skype_for_business": "keeps conversations in the mailbox on Windows",
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Apps() {
		p, h := a.Programs, a.History
		if none[a.ID] != "" {
			continue
		}
		if len(p.Windows) > 0 && len(h.Windows) == 0 || len(p.MacOS) > 0 && len(h.MacOS) == 0 || len(p.Linux) > 0 && len(h.Linux) == 0 {
			t.Errorf("%s: programs for %d, %d, %d; places on %d, %d, %d (Windows, macOS, Linux)", a.ID, len(p.Windows), len(p.MacOS), len(p.Linux), len(h.Windows), len(h.MacOS), len(h.Linux))
		}
	}
}

// TestPackagedClients finds the stores of clients that come from a store or in a sandbox, in a home folder anywhere.
func TestPackagedClients(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	x := New(c)
	for path, app := range map[string]string{
		"/mnt/Users/a/AppData/Local/Packages/91750D7E.Slack_8she8kybcnzg4/LocalCache/Roaming/Slack/IndexedDB": "slack",
		"/mnt/Users/a/appdata/local/packages/5319275a.whatsappdesktop_cv1g1gvanyjgm/localstate":               "whatsapp",
		"/mnt/Users/a/AppData/Local/Packages/MSTeams_8wekyb3d8bbwe/LocalCache":                                "teams",
		"/Users/a/Library/Containers/com.tencent.xinWeChat/Data/Documents/xwechat_files":                      "wechat",
		"/Users/a/Library/Group Containers/group.net.whatsapp.WhatsApp.shared/ChatStorage.sqlite":             "whatsapp",
		"/home/a/.var/app/org.gajim.Gajim/data/gajim/logs.db":                                                 "xmpp",
		"/home/a/snap/teams-for-linux/7/.config/teams-for-linux/IndexedDB":                                    "teams",
		"/backup/a/snap/telegram-desktop/x1/.local/share/TelegramDesktop/tdata":                               "telegram",
		"/home/a/.config/AppData/Local/Packages/x/LocalCache/Roaming/Telegram Desktop UWP/tdata":              "telegram",
		"/home/a/.var/app/org.gajim.Gajim/data/gajim/other.db":                                                "",
		"/home/a/snap/teams-for-linux/.config/teams-for-linux":                                                "",
	} {
		place, ok := x.Match(path)
		if place.App != app || ok != (app != "") {
			t.Errorf("%s: %q, want %q", path, place.App, app)
		}
	}
}
