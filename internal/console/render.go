package console

import (
	"crypto/rand"
	"io"
	"net/http"
	"strings"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// frame is what every page gets.
type frame struct {
	Title   string
	Path    string
	Account string
	Reads   bool
	Counsel bool
	Admin   bool
	Fleet   bool // a fleet is served
	Sums    bool // programs are summed up
	Purpose string
	Version string
	Worst   health.State
	Query   string
	Nonce   string // of the scripts of this answer, "" where there are none
	Talk    string // the conversation whose new messages the page tells of
	Data    any
}

func (c *Console) render(w http.ResponseWriter, status int, name string, s *session, title string, data any) {
	f := frame{Fleet: c.Deps.Fleet != nil, Sums: c.Deps.Programs != nil, Title: title, Version: c.Version, Data: data, Path: name}
	if s != nil {
		f.Account, f.Worst = s.Account, c.Board.Worst()
		f.Reads, f.Counsel, f.Admin = s.Has(control.Reviewer, control.Counsel), s.Has(control.Counsel), s.Has(control.Administrator)
		if s.view != nil {
			f.Purpose = s.view.Purpose()
		}
		f.Nonce = rand.Text()
		if talk, ok := data.(conversationData); ok {
			f.Talk = talk.Conversation.ID
		}
		w.Header().Set("Content-Security-Policy", livePolicy(f.Nonce))
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
	io.WriteString(w, printable.Text(b.String()))
}
