package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// load returns the configuration that the flags name: the file, or the defaults around a data directory.
func (d *dataFlags) load() (*config.Config, error) {
	if d.Config != "" {
		return config.Load(d.Config)
	}
	dir, err := d.dir()
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(nil)
	if err != nil {
		return nil, err
	}
	if c.DataDir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if beside := filepath.Join(filepath.Dir(c.DataDir), "chaperone.yaml"); fileExists(beside) {
		if full, err := config.Load(beside); err == nil && full.Data() == c.DataDir {
			return full, nil
		}
	}
	if fileExists(filepath.Join(c.KeysDir(), "passphrase")) {
		c.Keys.Unlock = "file:" + filepath.Join(c.KeysDir(), "passphrase")
	}
	return c, nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// operate runs an operation: in the process that serves the data directory when there is one, else here.
func operate(e *env, d *dataFlags, name string, args any, in io.Reader, out io.Writer) error {
	dir, err := d.dir()
	if err != nil {
		return err
	}
	err = control.Do(e.ctx, dir, name, args, in, out)
	if !errors.Is(err, control.ErrNotRunning) {
		return stoppedHint(err, dir)
	}
	return stoppedHint(withStore(e, d, func(ops control.Operations, store *server.Store) error {
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
		return ops.Run(e.ctx, name, &control.Call{Caller: caller, Args: encoded, In: in, Out: out})
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

// withStore opens the data directory here, and closes it again.
func withStore(e *env, d *dataFlags, f func(control.Operations, *server.Store) error) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	r, err := server.LoadRules(cfg)
	if err != nil {
		return err
	}
	log := telemetry.NewLog(e.errOut, true, slog.LevelWarn)
	store, err := server.OpenStore(e.ctx, cfg, r.Class, health.NewBoard(time.Now), log)
	if errors.Is(err, server.ErrNoKeys) && !errors.Is(err, server.ErrPublicLost) {
		return hint.New(err, "chaperone quickstart DIR makes a configuration, keys and accounts")
	}
	if errors.Is(err, journal.ErrLocked) {
		return hint.New(err, "another chaperone uses this data directory and does not answer on its control socket")
	}
	if err != nil {
		return err
	}
	store.Start(e.ctx)
	return errors.Join(f(server.Operations(store, r), store), store.Close())
}

// signFlags say who reads, and what for.
type signFlags struct {
	Account      string `name:"account" placeholder:"NAME" help:"Account that asks. Without it the user of this machine does; root administers and does not read."`
	PasswordFile string `name:"password-file" type:"path" placeholder:"FILE" help:"File with the account's password; else CHAPERONE_PASSWORD, else it is asked for."`
	Code         string `name:"code" placeholder:"CODE" help:"Code of the second factor, when the account has one."`
	Purpose      string `name:"purpose" placeholder:"TEXT" help:"Why content is read; it goes into the ledger."`
}

func (s *signFlags) sign(e *env) (server.Sign, error) {
	out := server.Sign{Account: s.Account, Code: s.Code, Purpose: s.Purpose}
	if s.Account == "" {
		return out, nil
	}
	var err error
	out.Password, err = s.password(e)
	return out, err
}

func (s *signFlags) password(e *env) (string, error) {
	if s.PasswordFile != "" {
		raw, err := readSmall(s.PasswordFile)
		return strings.TrimRight(string(raw), "\r\n"), err
	}
	if p, ok := os.LookupEnv("CHAPERONE_PASSWORD"); ok {
		return p, nil
	}
	if f, ok := e.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(e.errOut, "password of %s: ", s.Account)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(e.errOut)
		return string(raw), err
	}
	return "", hint.New(errors.New("no password was given"), "--password-file FILE, or CHAPERONE_PASSWORD in the environment")
}

// recording returns what makes events records in the data directory that the flags name, or nil when they name none.
func (d *dataFlags) recording(e *env) event.Recorder {
	if d.Data == "" && d.Config == "" {
		return nil
	}
	return &remoteRecorder{e: e, d: d}
}

// acts returns what quarantine works with: with a data directory set up, acts are recorded and holds asked.
func (d *dataFlags) acts(e *env) quarantineOptions {
	if d.Data == "" && d.Config == "" {
		return quarantineOptions{}
	}
	r := &remoteRecorder{e: e, d: d}
	return quarantineOptions{recorder: r, holds: r}
}

// remoteRecorder records through the operation "record", and counts what was acknowledged.
type remoteRecorder struct {
	e            *env
	d            *dataFlags
	acknowledged atomic.Int64
}

// Record implements event.Recorder.
func (r *remoteRecorder) Record(ctx context.Context, events ...*event.Event) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, ev := range events {
		if ev.ID == "" {
			ev.ID = event.NewID()
		}
		if ev.Received.IsZero() {
			ev.Received = time.Now().UTC()
		}
		w, err := server.ToWire(ev)
		if err != nil {
			return err
		}
		if err := enc.Encode(w); err != nil {
			return err
		}
	}
	e := *r.e
	e.ctx = ctx
	if err := operate(&e, r.d, "record", struct{}{}, strings.NewReader(b.String()), io.Discard); err != nil {
		return fmt.Errorf("recording stopped, %d events of this run were acknowledged: %w", r.acknowledged.Load(), err)
	}
	r.acknowledged.Add(int64(len(events)))
	return nil
}

// HostHeld implements quarantine.Holds.
func (r *remoteRecorder) HostHeld(ctx context.Context, host event.Host) (string, bool, error) {
	e := *r.e
	e.ctx = ctx
	var out strings.Builder
	if err := operate(&e, r.d, "hold.host", host.Name, nil, &out); err != nil {
		return "", false, err
	}
	var h server.HostHeld
	err := json.Unmarshal([]byte(out.String()), &h)
	return h.Matter, h.Held, err
}
