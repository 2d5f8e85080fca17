//go:build linux

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/inspection"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// serveCmd runs everything that a configuration names.
type serveCmd struct {
	Config string `name:"config" type:"existingfile" default:"chaperone.yaml" help:"Configuration."`
	Text   bool   `name:"text" help:"Log for people instead of JSON lines."`
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(e *command.Env) error {
	start := time.Now()
	cfg, err := config.Load(c.Config)
	if err != nil {
		return hint.New(err, "chaperone config test --config FILE checks a configuration without starting it")
	}
	log := telemetry.NewLog(e.ErrOut, c.Text, slog.LevelInfo)
	slog.SetDefault(telemetry.Libraries(log, time.Now)) // what libraries log comes in the same form
	s, err := server.New(e.Ctx, cfg, log, version)
	if err != nil {
		return c.hint(err)
	}
	if len(cfg.Network.Sensors) > 0 {
		defer inspection.KeepSmall()() // a sensor keeps flows as inspect does
	}
	err = s.Run(e.Ctx, func() {
		log.Info("serving", "version", version, "started_in", time.Since(start).Round(time.Millisecond).String())
		if cfg.Console.Listen != "" {
			fmt.Fprintf(e.Out, "console: https://%s/\n", cfg.Console.Listen)
		}
		if cfg.Metrics.Listen != "" {
			fmt.Fprintf(e.Out, "metrics: http://%s/metrics, health: http://%s/healthz\n", cfg.Metrics.Listen, cfg.Metrics.Listen)
		}
	})
	log.Info("stopped")
	return c.hint(err)
}

// hint says what helps when serve does not start, or ends.
func (c *serveCmd) hint(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return hint.New(err, "another process has the address: ss -ltnp shows which; or change it in "+c.Config)
	case errors.Is(err, syscall.EACCES):
		return hint.New(err, "ports below 1024 need root or CAP_NET_BIND_SERVICE; files need to be readable by this user")
	case errors.Is(err, journal.ErrLocked):
		return hint.New(err, "one process writes a data directory: is chaperone serve running already?")
	case errors.Is(err, keyring.ErrNoKeys) && !errors.Is(err, keyring.ErrPublicLost):
		return hint.New(err, "chaperone quickstart firm makes a configuration, accounts, and a data directory with keys at firm/data")
	}
	return hint.New(err, "chaperone doctor --config "+c.Config+" says what to do")
}
