package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// Operate runs an operation: in the process that serves the data directory when there is one, else here.
func Operate(e *Env, d *DataFlags, name string, args any, in io.Reader, out io.Writer) error {
	dir, err := d.Dir()
	if err != nil {
		return err
	}
	err = control.Do(e.Ctx, dir, name, args, in, out)
	if !errors.Is(err, control.ErrNotRunning) {
		return stoppedHint(err, dir)
	}
	return stoppedHint(WithStore(e, d, func(ops control.Operations, store *server.Store) error {
		caller, ok := store.Book.ByUser(uint32(os.Getuid()))
		if !ok {
			caller = control.Caller{}
		}
		encoded, err := json.Marshal(args)
		if err != nil {
			return err
		}
		if in == nil {
			in = strings.NewReader("")
		}
		return ops.Run(e.Ctx, name, &control.Call{Caller: caller, Args: encoded, In: in, Out: out})
	}), dir)
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

// WithStore opens the data directory here, and closes it again.
func WithStore(e *Env, d *DataFlags, f func(control.Operations, *server.Store) error) error {
	cfg, err := d.Load()
	if err != nil {
		return err
	}
	r, err := server.LoadRules(cfg)
	if err != nil {
		return err
	}
	log := telemetry.NewLog(e.ErrOut, true, slog.LevelWarn)
	store, err := server.OpenStore(e.Ctx, cfg, r.Class, health.NewBoard(time.Now), log)
	if errors.Is(err, keyring.ErrNoKeys) && !errors.Is(err, keyring.ErrPublicLost) {
		return hint.New(err, "chaperone quickstart DIR makes a configuration, keys and accounts")
	}
	if errors.Is(err, journal.ErrLocked) {
		return hint.New(err, "another chaperone uses this data directory and does not answer on its control socket")
	}
	if err != nil {
		return err
	}
	store.Start(e.Ctx)
	return errors.Join(f(server.Operations(store, r), store), store.Close())
}

// OperateInto runs an operation that answers with one JSON object.
func OperateInto(e *Env, d *DataFlags, op string, args, answer any) error {
	var b bytes.Buffer
	if err := Operate(e, d, op, args, nil, &b); err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), answer)
}
