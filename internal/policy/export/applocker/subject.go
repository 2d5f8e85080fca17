package applocker

import "strings"

// attributes splits a subject such as `CN="A, B", O=X, L=Y` at the commas that stand outside quotes.
func attributes(subject string) []string {
	var out []string
	quoted, escaped, start := false, false, 0
	for i := 0; i < len(subject); i++ {
		switch c := subject[i]; {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			out = append(out, strings.TrimSpace(subject[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(subject[start:]))
}

func attribute(subject, key string) string {
	for _, a := range attributes(subject) {
		if k, v, ok := strings.Cut(a, "="); ok && strings.EqualFold(strings.TrimSpace(k), key) {
			return strings.ReplaceAll(strings.Trim(strings.TrimSpace(v), `"`), `\`, "")
		}
	}
	return ""
}

// organisation returns the organisation of a subject in lower case.
func organisation(subject string) string { return strings.ToLower(attribute(subject, "O")) }

// publisherName returns a subject as AppLocker writes it: organisation, locality, state and country, in upper case. False when it names no
// organisation and country, as what was only claimed does not.
func publisherName(subject string) (string, bool) {
	var parts []string
	for _, k := range []string{"O", "L", "S", "C"} {
		v := attribute(subject, k)
		if v == "" && k == "S" {
			v = attribute(subject, "ST")
		}
		if v != "" {
			parts = append(parts, k+"="+strings.ToUpper(v))
		}
	}
	return strings.Join(parts, ", "), attribute(subject, "O") != "" && attribute(subject, "C") != ""
}
