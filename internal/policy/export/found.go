package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// maxLine bounds a line of findings, in bytes; maxFound bounds how many findings are taken.
const (
	maxLine  = 1 << 20
	maxFound = 1 << 20
)

// ReadFound reads what `chaperone scan --json` printed: lines of other types are passed by.
func ReadFound(r io.Reader) ([]Found, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var out []Found
	for n := 1; lines.Scan(); n++ {
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		var l struct {
			Type, App, Format, Publisher, SHA256, Inside string
			Confidence                                   float64
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if l.Type != "finding" {
			continue
		}
		if !isSHA256(l.SHA256) {
			return nil, fmt.Errorf("line %d: %q is no SHA-256", n, l.SHA256)
		}
		if len(out) == maxFound {
			return nil, fmt.Errorf("line %d: more than %d findings", n, maxFound)
		}
		out = append(out, Found{SHA256: l.SHA256, App: l.App, Format: l.Format, Publisher: l.Publisher, Inside: l.Inside, Confidence: event.Confidence(l.Confidence*1000 + .5)})
	}
	return out, lines.Err()
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
