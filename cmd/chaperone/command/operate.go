//go:build linux

package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"syscall"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
)

// Operate runs an operation: in the process that serves the data directory when there is one, else here. What is opened for that is closed when
// the command ends.
func Operate(e *Env, d *DataFlags, name string, args any, in io.Reader, out io.Writer) (err error) {
	dir, err := d.Dir()
	if err != nil {
		return err
	}
	here := e.session
	if here == nil { // for this one operation
		here = newSession()
		defer func() { err = errors.Join(err, here.close()) }()
	}
	if !here.opened(d) {
		if err = control.Do(e.Ctx, dir, name, args, in, out); !errors.Is(err, control.ErrNotRunning) {
			return stoppedHint(err, dir)
		}
	}
	return stoppedHint(here.run(e, d, name, args, in, out), dir)
}

// stoppedHint says what is kept and what to do when the process that serves ended, or the disk is full.
func stoppedHint(err error, dir string) error {
	switch {
	case errors.Is(err, control.ErrLost):
		return hint.New(err, "what was acknowledged before is on record, what was under way may be. The log of serve says why it ended (journalctl -u chaperone, dmesg, df "+dir+"); start it again, then this command")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.New(err, "the disk of "+dir+" is full. What was acknowledged before is on record, nothing more is until there is room (df "+dir+"); then run this command again")
	}
	return err
}

// OperateInto runs an operation that answers with one JSON object.
func OperateInto(e *Env, d *DataFlags, op string, args, answer any) error {
	var b bytes.Buffer
	if err := Operate(e, d, op, args, nil, &b); err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), answer)
}
