// Package logfile reads the logs of other programs, line by line: whole ones, and ones that grow, across rotation and restarts.
//
// What a line says is the business of a Parser. Here lines are bounded, what cannot be read is counted with the first of its kind, and no line is
// left out unless that is said.
package logfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// MaxLine bounds a line, in bytes. A longer one is skipped and counted.
const MaxLine = 256 << 10

// Parser reads the lines of one file, in order.
type Parser[E any] interface {
	// Line returns what a line says, nil when it says nothing that concerns us.
	Line(b []byte) (*E, error)
	// State returns what later lines need of earlier ones, to be given to Restore after a restart.
	State() []byte
	Restore(b []byte) error
}

// Trouble counts the lines of a log that could not be read.
type Trouble struct {
	Lines int
	First error // with its place
}

func (t *Trouble) add(unit string, place int64, err error) {
	t.Lines++
	if t.First == nil {
		t.First = fmt.Errorf("%s %d: %w", unit, place, err)
	}
}

// Reader reads a whole log.
type Reader[E any] struct {
	parser  Parser[E]
	lines   *lineReader
	number  int64
	Trouble Trouble
}

// NewReader returns a reader of a log.
func NewReader[E any](in io.Reader, p Parser[E]) *Reader[E] {
	return &Reader[E]{parser: p, lines: newLineReader(in)}
}

// Lines is how many lines were read until now, with those that could not be.
func (r *Reader[E]) Lines() int64 { return r.number }

// Next returns the next entry, io.EOF at the end.
func (r *Reader[E]) Next() (*E, error) {
	for {
		line, _, err := r.lines.next()
		if err != nil && !errors.Is(err, errLong) && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return nil, err
		}
		r.number++
		if errors.Is(err, errLong) {
			r.Trouble.add("line", r.number, err)
			continue
		}
		e, err := r.parser.Line(line)
		if err != nil {
			r.Trouble.add("line", r.number, err)
			continue
		}
		if e != nil {
			return e, nil
		}
	}
}

// errLong says that a line was skipped.
var errLong = fmt.Errorf("it is longer than %d bytes", MaxLine)

// lineReader reads lines in bounded memory.
type lineReader struct{ in *bufio.Reader }

func newLineReader(in io.Reader) *lineReader { return &lineReader{bufio.NewReaderSize(in, MaxLine)} }

// next returns the next line without its end, and how many bytes it took with it. A last line without an end comes with io.EOF; of one that is
// too long nothing comes but errLong.
func (l *lineReader) next() (line []byte, took int64, err error) {
	line, err = l.in.ReadSlice('\n')
	took = int64(len(line))
	if !errors.Is(err, bufio.ErrBufferFull) {
		return trimEnd(line), took, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.in.ReadSlice('\n')
		took += int64(len(line))
	}
	if err == nil {
		err = errLong
	}
	return nil, took, err
}

func trimEnd(line []byte) []byte {
	line = line[:len(line)-suffix(line, '\n')]
	return line[:len(line)-suffix(line, '\r')]
}

func suffix(line []byte, c byte) int {
	if len(line) > 0 && line[len(line)-1] == c {
		return 1
	}
	return 0
}
