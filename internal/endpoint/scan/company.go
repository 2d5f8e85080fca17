package scan

import (
	"slices"
	"strings"
	"unicode"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/program"
)

// stance is what the maker of a program, signed or claimed, says about its being a certain messenger.
type stance int

const (
	silent      stance = iota // no maker is named, or the catalog knows none
	confirms                  // it is one of the messenger's publishers
	contradicts               // it is somebody else
)

// makers are the publishers of each messenger, in the words that are compared. Version resources write them less exactly than
// certificates do ("Slack Technologies Inc." for "Slack Technologies, Inc."), so legal forms and punctuation do not count.
type makers map[string][][]string

func newMakers(c *catalog.Catalog) makers {
	out := makers{}
	for _, app := range c.Apps() {
		publishers := slices.Clone(app.Publisher)
		for i := range app.Programs.Windows {
			publishers = append(publishers, app.Programs.Windows[i].Publishers...)
		}
		for i := range publishers {
			out[app.ID] = append(out[app.ID], organisations(publishers[i].Subject)...)
		}
	}
	return out
}

// stance compares who made a program with who makes the messenger. A maker called as the product is neither: "Element" by "Element".
func (m makers) stance(app string, id *program.Identity) stance {
	known := m[app]
	if len(known) == 0 {
		return silent
	}
	var said [][]string
	if w := words(id.Company); len(w) > 0 {
		said = append(said, w)
	}
	for _, s := range id.Signers {
		said = append(said, organisations(s.Subject)...)
	}
	out := silent
	for _, w := range said {
		if slices.ContainsFunc(known, func(k []string) bool { return slices.Equal(k, w) }) {
			return confirms
		}
		if product := words(id.Product); len(product) == 0 || product[0] != w[0] {
			out = contradicts
		}
	}
	return out
}

// organisations returns the O and CN of a certificate subject, as words.
func organisations(subject string) [][]string {
	var out [][]string
	var value string
	keep := func() {
		if w := words(value); len(w) > 0 && !slices.ContainsFunc(out, func(o []string) bool { return slices.Equal(o, w) }) {
			out = append(out, w)
		}
		value = ""
	}
	wanted := false
	for i, part := range strings.Split(subject, ",") {
		attribute, rest, ok := strings.Cut(part, "=")
		switch attribute = strings.ToUpper(strings.TrimSpace(attribute)); {
		case ok:
			keep()
			if wanted = attribute == "O" || attribute == "CN"; wanted {
				value = rest
			}
		case i == 0: // no attribute at all: a common name
			value, wanted = part, true
		case wanted:
			value += " " + part
		}
	}
	keep()
	return out
}

// maxWords bounds the words of a name, which a hostile file may make as long as it likes.
const maxWords = 16

// words cuts a name into lower-case words of letters and digits, without the legal form at its end.
func words(name string) []string {
	w := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	w = w[:min(len(w), maxWords)]
	for len(w) > 1 && legalForm(w[len(w)-1]) {
		w = w[:len(w)-1]
	}
	return w
}

func legalForm(word string) bool {
	switch word {
	case "inc", "incorporated", "llc", "ltd", "limited", "gmbh", "corp", "corporation", "co", "company", "ag", "sa", "sarl", "bv", "oy",
		"ab", "as", "fz", "plc", "pte", "pty", "kg", "se":
		return true
	}
	return len([]rune(word)) == 1 // the letters of "S.A." and "L.L.C."
}
