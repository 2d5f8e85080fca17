package console

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
)

// frame is what every page gets.
type frame struct {
	Title   string
	Path    string
	Account string
	Reads   bool
	Counsel bool
	Admin   bool
	Purpose string
	Version string
	Worst   health.State
	Query   string
	Data    any
}

func (c *Console) render(w http.ResponseWriter, status int, name string, s *session, title string, data any) {
	f := frame{Title: title, Version: c.Version, Data: data, Path: name}
	if s != nil {
		f.Account, f.Worst = s.Account, c.Board.Worst()
		f.Reads, f.Counsel, f.Admin = s.Has(control.Reviewer, control.Counsel), s.Has(control.Counsel), s.Has(control.Administrator)
		if s.view != nil {
			f.Purpose = s.view.Purpose()
		}
	}
	if q, ok := data.(interface{ query() string }); ok {
		f.Query = q.query()
	}
	var b strings.Builder
	if err := c.pages[name].Execute(&b, f); err != nil {
		c.Log.Error("template", "page", name, "error", err)
		http.Error(w, "The page could not be made. The log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, plain(b.String()))
}

// plain makes visible what would otherwise change how the rest of a page reads: characters that turn the direction of text around (Unicode
// UAX 9, explicit formatting), by which "gpj.exe" is made to look like "exe.jpg", and control characters. Nothing in our own pages has one.
func plain(page string) string {
	page = strings.ToValidUTF8(page, "\uFFFD")
	if !strings.ContainsFunc(page, hidden) {
		return page
	}
	var b strings.Builder
	for _, r := range page {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x20:
			b.WriteRune(0x2400 + r) // its picture
		default:
			fmt.Fprintf(&b, "[U+%04X]", r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
