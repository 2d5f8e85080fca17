package ring_test

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/ring"
)

// TestFullPipe says more than a pipe and the ring hold together, while nobody reads, and never waits. What was dropped is counted.
func TestFullPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log := ring.New(slog.New(slog.NewTextHandler(w, nil)))
	for range 20000 {
		log.Say("denied", "path", strings.Repeat("x", 100))
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	log.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if text := <-read; !strings.Contains(text, "denied") {
		t.Errorf("nothing was said: %.100s", text)
	}
}

func TestCount(t *testing.T) {
	block, lines := make(chan struct{}), make(chan string, 1000)
	log := ring.New(slog.New(slog.NewTextHandler(writer(func(p []byte) { <-block; lines <- string(p) }), nil)))
	defer log.Close()
	for range 1000 {
		log.Say("x")
	}
	close(block)
	for line := range lines {
		if strings.Contains(line, "dropped=") {
			return
		}
	}
}

func TestNoLog(t *testing.T) {
	log := ring.New(nil)
	log.Say("x", "a", 1)
	log.Close()
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
