package client_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

func TestCheckApproval(t *testing.T) {
	apps := []string{"signal", "telegram"}
	until := time.Now().Add(time.Hour)
	for _, c := range []struct {
		a    protocol.Approval
		want string
	}{
		{protocol.Approval{App: "telegram"}, ""},
		{protocol.Approval{App: "telegrm"}, `unknown app "telegrm"; did you mean "telegram"?`},
		{protocol.Approval{App: "zzzzzzzz"}, `unknown app "zzzzzzzz"`},
		{protocol.Approval{SHA256: strings.Repeat("ab", 32)}, ""},
		{protocol.Approval{SHA256: strings.Repeat("Z", 64)}, "is not a SHA-256"},
		{protocol.Approval{Publisher: "CN=Telegram FZ-LLC"}, ""},
	} {
		c.a.ID, c.a.Until, c.a.Reason = "1", until, "test"
		switch err := client.CheckApproval(c.a, apps); {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.a, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %s", c.a, err, c.want)
		}
	}
}
