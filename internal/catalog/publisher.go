package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Strengths of what ByPublisher and ByPublisherProduct conclude.
const (
	lowOutside    = event.Low   // a publisher outside its time
	exactTogether = event.Exact // publisher and product together
)

// maxSubject bounds a certificate subject, which a hostile file may make as long as it likes.
const maxSubject = 4096

// rdn is one part of a distinguished name, in the form that is compared: type in upper case, value in lower case with single spaces.
type rdn struct{ attribute, value string }

type pubFact struct {
	fact
	parts []rdn
}

func (x *index) addPublisher(f fact) {
	parts := parseSubject(f.text)
	if len(parts) == 0 {
		return
	}
	key := telling(parts)
	x.publishers[key] = append(x.publishers[key], pubFact{f, parts})
}

// telling returns the part by which a publisher is looked up: its organisation, else its common name, else whatever it has.
func telling(parts []rdn) rdn {
	for _, attribute := range []string{"O", "CN"} {
		for _, p := range parts {
			if p.attribute == attribute {
				return p
			}
		}
	}
	return parts[0]
}

// eachPublisher calls found with every publisher fact all of whose parts stand in subject.
func (c *Catalog) eachPublisher(subject string, found func(*pubFact)) {
	parts := parseSubject(subject)
	for _, part := range parts {
		facts := c.publishers[part]
		for i := range facts {
			if !slices.ContainsFunc(facts[i].parts, func(p rdn) bool { return !slices.Contains(parts, p) }) {
				found(&facts[i])
			}
		}
	}
}

// covers reports whether the publisher signed at that moment; a moment that is not known is inside.
func (p *Publisher) covers(at time.Time) bool {
	if at.IsZero() {
		return true
	}
	return !at.Before(p.From.Time) && (p.To.IsZero() || at.Before(p.To.AddDate(0, 0, 1)))
}

// parseSubject reads a distinguished name as tools print it: parts in any order, separated by commas (RFC 4514), semicolons or line ends,
// values quoted or with backslashes, and also unquoted ones with a comma inside ("O=Slack Technologies, Inc."). A text without any
// attribute is taken as the common name. Equal parts are given once.
func parseSubject(s string) []rdn {
	if len(s) > maxSubject {
		return nil
	}
	var out []rdn
	for _, piece := range splitSubject(s) {
		attribute, value, ok := strings.Cut(piece, "=")
		attribute = attributeName(attribute)
		switch {
		case ok && attribute != "":
			out = append(out, rdn{attribute, value})
		case len(out) > 0:
			out[len(out)-1].value += "," + piece
		default:
			out = append(out, rdn{"CN", piece})
		}
	}
	kept := out[:0]
	for _, p := range out {
		p.value = foldValue(p.value)
		if p.value != "" && !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// splitSubject cuts at separators that stand outside quotes and escapes.
func splitSubject(s string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ';' || c == '\n' || c == '+'):
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// attributeName returns the upper-case type, "" when it cannot be one: then the = belongs to a value.
func attributeName(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) == 0 || len(s) > 40 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		return ""
	}
	if s == "S" {
		return "ST" // as Windows prints stateOrProvinceName
	}
	return s
}

// foldValue removes quotes and escapes, makes white space single and case equal.
func foldValue(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		} else if s[i] == '"' {
			continue
		}
		b.WriteByte(s[i])
	}
	return strings.ToLower(strings.Join(strings.Fields(b.String()), " "))
}
