package sqlite_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/search"
)

// texts reads what people wrote: some lines of each file of the corpus that has texts.
func texts(t *testing.T, perFile int) []string {
	t.Helper()
	var out []string
	for _, name := range []string{"ubuntu-irc", "slack-qa", "sms-spam", "toxicity-wikipedia", "documents", "pii-synthetic", "hatecheck"} {
		f, err := os.Open(filepath.Join(corpus(), "chat", name+".jsonl"))
		if err != nil {
			t.Skipf("no corpus of chat: %v (set CHAPERONE_CORPUS)", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 16<<20)
		for n := 0; n < perFile && lines.Scan(); {
			var l struct{ Text string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Text != "" {
				out = append(out, l.Text)
				n++
			}
		}
	}
	return out
}

// TestRealTextIsFound takes words, phrases and pairs out of real texts, and compares what the index finds with what looking at each text finds.
func TestRealTextIsFound(t *testing.T) {
	written := texts(t, 150)
	s := open(t, t.TempDir(), testKey())
	var entries []archive.Entry
	for i, text := range written {
		entries = append(entries, archivetest.Entry(i, &event.Event{ID: event.NewID(), Kind: event.Message, Time: time.Unix(int64(1_700_000_000+i/3), 0).UTC(), Connector: "corpus",
			From: event.Party{Handle: fmt.Sprint("p", i%5)}, Content: event.Content{Text: text}}, false))
	}
	fill(t, s, entries)
	all := everything(t, s)
	terms := make([]search.Terms, len(all))
	for i, r := range all {
		terms[i] = search.TermsOf(r)
	}
	look := func(q string) (out []event.ID) {
		e, err := search.Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range all {
			if e.Match(terms[i], r.Event.Time) {
				out = append(out, r.Event.ID)
			}
		}
		return out
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		tokens := search.Tokens(written[rng.IntN(len(written))])
		if len(tokens) < 4 {
			continue
		}
		i := rng.IntN(len(tokens) - 3)
		quoted := func(words ...string) string { return `"` + strings.Join(words, " ") + `"` }
		q := []string{
			quoted(tokens[i]), quoted(tokens[i : i+3]...), quoted(tokens[i]) + "*", quoted(tokens[i]) + " NEAR/2 " + quoted(tokens[i+2]),
			quoted(tokens[i]) + " NOT " + quoted(tokens[i+3]), quoted(tokens[i], tokens[i+1]) + "* from:p3",
		}[rng.IntN(6)]
		if _, err := search.Parse(q); err != nil {
			continue // a token that is a sign before a word is none alone
		}
		got, want := ids(t, s, q), look(q)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: found %d, want %d", q, len(got), len(want))
		}
	}
}
