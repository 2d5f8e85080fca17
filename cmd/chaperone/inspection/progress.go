package inspection

import (
	"fmt"
	"io"
	"time"
)

// progress is a reader that tells how far it is.
type progress struct {
	out  io.Writer
	name string
	size int64
	in   io.Reader
	read int64
	said int64
	from time.Time // when reading began
	now  func() time.Time
}

// newProgress begins to tell how far reading is.
func newProgress(out io.Writer, name string, size int64, in io.Reader) *progress {
	return &progress{out: out, name: name, size: size, in: in, from: time.Now(), now: time.Now}
}

// Read reads on, and says each per cent.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.read += int64(n)
	if done := p.read * 100 / max(p.size, 1); done != p.said {
		p.said = done
		fmt.Fprintf(p.out, "\r\x1b[K%s: %d %%%s", p.name, done, p.left())
	}
	return n, err
}

// left says how long it will take, once that can be told.
func (p *progress) left() string {
	took := p.now().Sub(p.from)
	if took < time.Second || p.read <= 0 || p.read >= p.size {
		return ""
	}
	left := time.Duration(float64(took) * float64(p.size-p.read) / float64(p.read))
	return fmt.Sprintf(", %d MB/s, %s left", int64(float64(p.read)/took.Seconds())/1_000_000, left.Round(time.Second))
}

func (p *progress) clear() { fmt.Fprint(p.out, "\r\x1b[K") }
