package console

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// Bounds of downloads.
const (
	downloadsAtOnce = 4
	downloadChunk   = 256 << 10
	chunkWithin     = 30 * time.Second // a browser that takes longer for a chunk is left
	longestName     = 150              // code points of a file's name
)

// quarantinedSuffix ends the name of a file that policy stopped or a scanner named, so that no program opens it by its name.
const quarantinedSuffix = ".quarantined"

type fileData struct {
	ID     event.ID
	N      int
	File   event.File
	Action event.Action
	Rule   string
	Risks  []string // why somebody should think before opening it; none where it was inspected and delivered
}

// fileOf returns the n-th file of a record as the archive knows it.
func (c *Console) fileOf(r *http.Request, s *session) (archive.Record, fileData, error) {
	v, err := s.look()
	if err != nil {
		return archive.Record{}, fileData{}, err
	}
	rec, err := v.Record(r.Context(), event.ID(r.FormValue("id")))
	if err != nil {
		return rec, fileData{}, err
	}
	if rec.KeyLost {
		return rec, fileData{}, archive.ErrKeyLost
	}
	if rec.Erased {
		return rec, fileData{}, archive.ErrGone
	}
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < 0 || n >= len(rec.Event.Files) {
		return rec, fileData{}, archive.ErrNotFound
	}
	return rec, fileData{ID: rec.Event.ID, N: n, File: rec.Event.Files[n], Action: rec.Action, Rule: rec.Rule, Risks: risks(rec)}, nil
}

// risks says, in words, why a file should not be opened like any other.
func risks(r archive.Record) []string {
	var out []string
	if r.Action.Stops() {
		out = append(out, "Policy stopped it: "+string(r.Action)+" by rule "+r.Rule+".")
	}
	for _, h := range r.Event.Hits {
		if h.Inspector == "malware" {
			out = append(out, "A scanner found "+cut(h.Name, shortText)+" in it.")
		}
	}
	for _, m := range r.Event.NotChecked {
		out = append(out, "The inspector "+m.Inspector+" could not look into it: "+m.Reason+".")
	}
	return out
}

// filePage warns before a file is given out.
func (c *Console) filePage(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	_, d, err := c.fileOf(r, s)
	return "file", d, err
}

// download gives a file out: from the page of its record, or, where there are risks, after the page that names them.
func (c *Console) download(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	rec, d, err := c.fileOf(r, s)
	if err != nil {
		return "", nil, err
	}
	if len(d.Risks) > 0 && r.PostFormValue("known") != "yes" {
		return "file", d, nil
	}
	if c.Files == nil {
		return "", nil, archive.ErrGone
	}
	select {
	case c.downloads <- struct{}{}:
		defer func() { <-c.downloads }()
	default:
		return "", nil, usageError("Other files are being given out. Try again in a moment.")
	}
	file, in, err := s.view.Download(r.Context(), c.Files, rec, d.N)
	if err != nil {
		return "", nil, err
	}
	defer in.Close()
	name := safeName(d.File.Name) // as this reader sees it
	if len(d.Risks) > 0 {
		name += quarantinedSuffix
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Content-Length", strconv.FormatInt(file.Size, 10))
	if err := pour(r.Context(), w, in); err != nil {
		c.Log.Warn("a download ended early", "record", rec.Event.ID, "error", err)
	}
	return "", nil, nil
}

// pour copies, and gives up on a browser that is too slow. A download that ends early is shorter than it said, and the browser says so.
func pour(ctx context.Context, w http.ResponseWriter, in io.Reader) error {
	control := http.NewResponseController(w)
	buf := make([]byte, downloadChunk)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if e := control.SetWriteDeadline(time.Now().Add(chunkWithin)); e != nil {
				return e
			}
			if _, e := w.Write(buf[:n]); e != nil {
				return e
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return control.SetWriteDeadline(time.Time{})
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// safeName makes a name that hides nothing and leads nowhere: the last part of a path, with what turns text around or controls it made visible.
func safeName(name string) string {
	name = printable.Line(path.Base(strings.ReplaceAll(name, `\`, "/")))
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"/|?*%;`, r) {
			return '_'
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > longestName {
		end := runes[len(runes)-12:]
		name = string(append(slices.Clip(runes[:longestName-12]), end...)) // the ending stays
	}
	if name = strings.Trim(name, ". "); name == "" {
		return "file"
	}
	return name
}
