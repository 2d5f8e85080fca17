package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// serveCmd runs everything that a configuration names.
type serveCmd struct {
	Config string `name:"config" type:"existingfile" default:"chaperone.yaml" help:"Configuration."`
	Text   bool   `name:"text" help:"Log for people instead of JSON lines."`
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(e *env) error {
	start := time.Now()
	cfg, err := config.Load(c.Config)
	if err != nil {
		return hinted{err, "chaperone config test --config FILE checks a configuration without starting it"}
	}
	log := telemetry.NewLog(e.errOut, c.Text, slog.LevelInfo)
	s, err := server.New(e.ctx, cfg, log, version)
	if err != nil {
		return hinted{err, "chaperone doctor --config " + c.Config + " says what to do"}
	}
	err = s.Run(e.ctx, func() {
		log.Info("serving", "version", version, "started_in", time.Since(start).Round(time.Millisecond).String())
		if cfg.Console.Listen != "" {
			fmt.Fprintf(e.out, "console: https://%s/\n", cfg.Console.Listen)
		}
	})
	log.Info("stopped")
	return err
}
