package santa_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

// TestBlocksSayTheirRule: what Santa stopped names its rule as an export does, so that it counts as fired; what it let run names none.
func TestBlocksSayTheirRule(t *testing.T) {
	r := newRig(t)
	m := r.mac(t, idA, tokenA)
	for decision, want := range map[string]string{
		"BLOCK_TEAMID": "TEAMID:6N38VWS5BX", "BLOCK_BINARY": "BINARY:" + denied, "BLOCK_SIGNINGID": "SIGNINGID:6N38VWS5BX:ru.keepcoder.Telegram",
		"BLOCK_UNKNOWN": "", "BLOCK_CDHASH": "", "ALLOW_UNKNOWN": "none",
	} {
		if err := m.sync(false, blocked(decision)); err != nil {
			t.Fatal(err)
		}
		got := r.found.take()
		if len(got) != 1 {
			t.Fatalf("%s: %d records", decision, len(got))
		}
		fired := "none"
		for _, e := range got[0].Evidence {
			if e.Fact == "enforcer:santa" {
				fired = e.Value
				if e.Strength != event.Medium || e.Source == "" {
					t.Errorf("%s: %+v", decision, e)
				}
			}
		}
		if fired != want {
			t.Errorf("%s: fired %q, want %q", decision, fired, want)
		}
	}
}
