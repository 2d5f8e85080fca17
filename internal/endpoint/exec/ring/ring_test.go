package ring_test

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/ring"
)

// TestFullPipe says more than a pipe and the ring hold together, while nobody reads, and never waits.
func TestFullPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := ring.NewWriter(w)
	log := slog.New(slog.NewTextHandler(out, nil))
	for range 20000 {
		log.Info("denied", "path", strings.Repeat("x", 100))
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	out.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if text := <-read; !strings.Contains(text, "denied") {
		t.Errorf("nothing was said: %.100s", text)
	}
}

// TestCount tells how many lines were dropped, once there is room again.
func TestCount(t *testing.T) {
	block, lines := make(chan struct{}), make(chan string, 1000)
	out := ring.NewWriter(writer(func(p []byte) { <-block; lines <- string(p) }))
	defer out.Close()
	for range 1000 {
		if _, err := out.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
	}
	close(block)
	for line := range lines {
		if strings.Contains(line, "lines were dropped") {
			return
		}
	}
}

func TestNoLog(t *testing.T) {
	out := ring.NewWriter(nil)
	if n, err := out.Write([]byte("x")); n != 1 || err != nil {
		t.Error(n, err)
	}
	out.Close()
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
