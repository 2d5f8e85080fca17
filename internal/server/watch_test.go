package server

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/config"
)

// TestWithoutRoom: the words about a full disk are those of what each gateway does then.
func TestWithoutRoom(t *testing.T) {
	for _, tt := range []struct {
		name  string
		modes []string
		want  string
	}{
		{"no gateway", nil, "Make room: what cannot be recorded is refused."},
		{"closed", []string{"closed", ""}, "Make room: what cannot be recorded is refused."},
		{"open", []string{"open"}, "Make room: messages (on_failure: open) are delivered and wait in the spool until they can be recorded; whatever else cannot be recorded is refused."},
		{"both", []string{"closed", "open"}, "Make room: messages of b (on_failure: open) are delivered and wait in the spool until they can be recorded; whatever else cannot be recorded is refused."},
	} {
		s := &Server{cfg: &config.Config{}}
		for i, mode := range tt.modes {
			s.cfg.Gateways = append(s.cfg.Gateways, config.Gateway{ID: string(rune('a' + i)), OnFailure: mode})
		}
		if got := s.withoutRoom(); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
