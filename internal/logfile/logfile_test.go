package logfile_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// numbered takes lines as they are, refuses one and passes another by; its state is how many it took.
type numbered struct{ n byte }

func (p *numbered) Line(b []byte) (*string, error) {
	switch string(b) {
	case "bad":
		return nil, errors.New("bad")
	case "":
		return nil, nil
	}
	p.n++
	s := string(b) + "#" + string('0'+rune(p.n))
	return &s, nil
}

func (p *numbered) State() []byte { return []byte{p.n} }

func (p *numbered) Restore(b []byte) error {
	if p.n = 0; len(b) > 0 {
		p.n = b[0]
	}
	return nil
}

func TestReader(t *testing.T) {
	r := logfile.NewReader(strings.NewReader("one\n\nbad\r\n"+strings.Repeat("x", logfile.MaxLine+10)+"\ntwo"), &numbered{})
	var got []string
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *e)
	}
	if strings.Join(got, " ") != "one#1 two#2" || r.Trouble.Lines != 2 || !strings.Contains(r.Trouble.First.Error(), "line 3: bad") || r.Lines() != 5 {
		t.Errorf("%q, %+v, %d lines", got, r.Trouble, r.Lines())
	}
}

// TestRun: Run takes what grows, goes on after an error of the one who takes, and ends with its context.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	taken := make(chan string, 10)
	broken := make(chan error, 1)
	broken <- errors.New("not now")
	f, err := logfile.NewFollower(path, dir, &numbered{}, func(_ context.Context, b logfile.Batch[string]) error {
		select {
		case err := <-broken:
			return err
		default:
		}
		for _, i := range b.Items {
			taken <- *i.Entry
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Step(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Step(t.Context()); err == nil {
		t.Error("what could not be taken is passed over")
	}
	c, stop := context.WithCancel(t.Context())
	reports := make(chan error, 1000)
	done := make(chan struct{})
	go func() { f.Run(c, func(err error) { reports <- err }); close(done) }()
	select {
	case s := <-taken:
		if s != "one#1" {
			t.Errorf("%q: the parser was not brought back", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was taken")
	}
	if err := <-reports; err != nil {
		t.Error(err)
	}
	stop()
	<-done
}

func TestSyslog(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]logfile.Syslog{
		"Dec 31 23:59:58 host prog[12]: hello":                {Time: time.Date(2025, 12, 31, 23, 59, 58, 0, time.UTC), Host: "host", Rest: "hello"},
		"<34>Jan  3 00:00:00 host prog: hello":                {Time: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), Host: "host", Rest: "hello"},
		"2026-01-02T03:00:00.5+01:00 host prog[1]: a: b":      {Time: time.Date(2026, 1, 2, 2, 0, 0, 5e8, time.UTC), Host: "host", Rest: "a: b"},
		"<34>1 2026-01-02T03:00:00Z - prog - - [x y=\"z\"] m": {Time: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), Rest: "m"},
		"no head: at all":                  {Rest: "no head: at all"},
		"Feb 29 00:00:00 host prog: never": {Host: "host", Rest: "never", Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if got := logfile.ParseSyslog(text, now); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzSyslog(f *testing.F) {
	f.Add("Dec 31 23:59:58 host prog[12]: hello")
	f.Add("<34>1 2026-01-02T03:00:00Z - prog - - [x y=\"z\"] m")
	f.Fuzz(func(t *testing.T, text string) {
		got := logfile.ParseSyslog(text, time.Unix(1e9, 0))
		if !strings.HasSuffix(text, got.Rest) {
			t.Errorf("%q: %q", text, got.Rest)
		}
	})
}
