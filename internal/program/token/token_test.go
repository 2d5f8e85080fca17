package token

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	s := New([]string{"tdesktop-theme", "skypeforlinux", "short", "desktop-theme", "überwire", "149.154.167.50"})
	for _, c := range []struct {
		name, data string
		want       []int
	}{
		{"nothing", strings.Repeat("x", 1000), nil},
		{"at the begin", "skypeforlinux and more", []int{1}},
		{"at the end", "more skypeforlinux", []int{1}},
		{"cut off", "skypeforlinu", nil},
		{"one within another", "a tdesktop-theme b", []int{0, 3}},
		{"too short to count", "short short", nil},
		{"as Windows holds it", "xx" + wide("skypeforlinux"), []int{1}},
		{"at an odd place", "x" + wide("149.154.167.50") + "y", []int{5}},
		{"beyond ASCII", wide("überwire"), []int{4}},
		{"twice", "skypeforlinuxskypeforlinux", []int{1}},
		{"less than a window", "abc", nil},
	} {
		if got := s.Find([]byte(c.data)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if got := New([]string{"企業微信客戶端"}).Find([]byte(wide("企業微信客戶端"))); !slices.Equal(got, []int{0}) {
		t.Errorf("shorter as Windows holds it: got %v", got)
	}
	if got := New(nil).Find([]byte("anything at all")); got != nil {
		t.Errorf("an empty set found %v", got)
	}
}

// TestSearchInBlocks finds what lies across the border of two blocks, once.
func TestSearchInBlocks(t *testing.T) {
	s := New([]string{"skypeforlinux"})
	data := []byte(strings.Repeat(".", 95) + "skypeforlinux" + strings.Repeat(".", 100))
	found := make([]bool, s.Count())
	s.Search(data[:150], 100, found)
	if !found[0] {
		t.Error("not found across the border")
	}
	found[0] = false
	s.Search(data[96:], len(data)-96, found)
	if found[0] {
		t.Error("half of it was found")
	}
}

// TestEveryPlace finds tokens of every length wherever they begin, and in every block that they begin in.
func TestEveryPlace(t *testing.T) {
	all := "ViberPC and a longer one of many words, desktop-theme"
	for length := MinLength; length < len(all); length++ {
		tok := all[:length]
		s := New([]string{tok, "skypeforlinux"})
		for at := range 40 {
			data := []byte(strings.Repeat(".", at) + tok + strings.Repeat(".", 20))
			for limit := range len(data) {
				found := make([]bool, 2)
				if s.Search(data, limit, found); found[0] != (at < limit) || found[1] {
					t.Fatalf("%q at %d, limit %d: %v", tok, at, limit, found)
				}
			}
		}
	}
}

// FuzzFind compares with the plain way to search.
func FuzzFind(f *testing.F) {
	f.Add([]byte("xx tdesktop-theme yy"), "tdesktop-theme")
	f.Add([]byte("aaaaaaaaaaaaab"), "aaaaaaab")
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"), "\x00\x00\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, data []byte, tok string) {
		if len(tok) < MinLength || len(tok) > 1000 {
			return
		}
		want := bytes.Contains(data, []byte(tok))
		if w := wide(tok); len(w) >= MinLength {
			want = want || bytes.Contains(data, []byte(w))
		}
		if got := len(New([]string{tok, "another token"}).Find(data)) > 0 && New([]string{tok}).Find(data) != nil; got != want {
			t.Errorf("found %v, want %v", got, want)
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	var tokens []string
	for _, w := range strings.Fields("tdesktop-theme tg://resolve?domain= TelegramDesktop WhatsAppDesktop web.whatsapp.com ZoomUsPluginSetup zoommtg:// SkypeSetup skypeforlinux") {
		tokens = append(tokens, w, w+"-second", w+"-third")
	}
	s := New(tokens)
	data := make([]byte, 8<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	found := make([]bool, s.Count())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.Search(data, len(data), found)
	}
}
