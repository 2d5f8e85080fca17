package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// again is the command that this process is, by the program that is installed.
func again() []string { return append([]string{update.Binary}, os.Args[1:]...) }

// updatesDir is where releases are fetched to.
func updatesDir(data string) string { return filepath.Join(State(data), "update") }

// updater takes releases where the configuration pins a key; nil where none are taken.
func (c *agentCmd) updater(ctx context.Context, j *joined, cfg *config.Config) *update.Updater {
	if cfg.Agent.Update.Key == "" {
		return nil
	}
	manager, err := update.ManagerOf(ctx, update.Binary)
	if err == nil {
		var u *update.Updater
		u, err = update.New(ctx, update.Options{Dir: updatesDir(cfg.Data()), Key: cfg.Agent.Update.Key, Manager: manager, Binary: update.Binary, Command: again(),
			Launch: c.launch(cfg), Told: func() { j.TellUpdate() }, Recorder: j.recorder, Now: time.Now, Log: j.log})
		if err == nil {
			return u
		}
	}
	j.log.Error("this machine takes no releases, though its configuration pins a key for them", "error", err)
	return nil
}

// watchUpdates returns update.ErrReplaced when another program is to run in the place of this one.
func watchUpdates(ctx context.Context, u *update.Updater) error {
	if u == nil {
		<-ctx.Done()
		return nil
	}
	return u.Watch(ctx)
}

// The service manager, at its places.
const (
	systemdMark   = "/run/systemd/system"
	systemdRun    = "/usr/bin/systemd-run"
	systemctl     = "/usr/bin/systemctl"
	clientService = "chaperone-fleet.service"
)

// launch starts the installation as a process that neither the end of this one nor that of its unit ends: a unit of its own, or, without systemd, a
// session of its own.
func (c *agentCmd) launch(cfg *config.Config) func(ctx context.Context) error {
	args := []string{"fleet", "install-update", "--within", c.Within.String()}
	for _, a := range [][2]string{{"--config", c.Config}, {"--data", c.Data}} {
		if a[1] != "" {
			args = append(args, a[0], a[1])
		}
	}
	return func(ctx context.Context) error {
		if command.FileExists(systemdMark) {
			words := append([]string{"--quiet", "--collect", "--unit=chaperone-update", "--description=Chaperone, installs a signed release of itself", "--", update.Binary}, args...)
			if out, err := exec.CommandContext(ctx, systemdRun, words...).CombinedOutput(); err != nil {
				return fmt.Errorf("systemd-run: %w: %.300s", err, out)
			}
			return nil
		}
		return apart(filepath.Join(updatesDir(cfg.Data()), "log"), append([]string{update.Binary}, args...))
	}
}

// apart starts a command in a session of its own, which writes to a file.
func apart(log string, words []string) error {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() // it tells how it ended by its state
	return nil
}

// installUpdateCmd is the process that installs a release.
type installUpdateCmd struct {
	command.DataFlags
	Within time.Duration `name:"within" default:"2m" help:"How long the release may take to show that it works."`
}

// Run installs what was fetched, if anything was.
func (c *installUpdateCmd) Run(e *command.Env) error {
	cfg, err := c.Load()
	if err != nil {
		return err
	}
	if cfg.Agent.Update.Key == "" {
		return errors.New("the configuration pins no key for releases: agent.update.key")
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	manager, err := update.ManagerOf(e.Ctx, update.Binary)
	if err != nil {
		return err
	}
	i := update.Installer{Dir: updatesDir(cfg.Data()), Key: cfg.Agent.Update.Key, Manager: manager, Binary: update.Binary, Within: c.Within, Now: time.Now,
		Log: telemetry.NewLog(e.ErrOut, true, slog.LevelInfo), Worker: workerAt(cfg.Path(cfg.Agent.Socket)),
		Ended: func(p update.Phase, words []string) error { return clientRuns(e.Ctx, cfg.Data(), p, words) }}
	return i.Run(e.Ctx)
}

// workerAt returns what tells which process decides for the agent at a socket.
func workerAt(socket string) func(ctx context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		if _, err := agent.Ask(ctx, socket, &agent.Request{Status: true}); err != nil {
			return 0, err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		who, err := agent.Peer(conn)
		if err != nil {
			return 0, err
		}
		return int(who.Pid), nil
	}
}

// Looks at whether the client is gone for good.
const (
	goneLooks = 10
	mostLooks = 40
	lookAgain = 500 * time.Millisecond
)

// clientRuns sees to it that the fleet's client runs after a release has been taken back. systemd starts one anew that ended; without it this does.
func clientRuns(ctx context.Context, data string, p update.Phase, words []string) error {
	if p != update.RolledBack {
		return nil // the one that reached the server, or the one that was there all the time
	}
	if command.FileExists(systemdMark) {
		return exec.CommandContext(ctx, systemctl, "--no-block", "try-restart", clientService).Run() // one that hangs, too
	}
	gone := 0
	for range mostLooks {
		if err := control.Do(ctx, data, "health", struct{}{}, nil, io.Discard); !errors.Is(err, control.ErrNotRunning) {
			gone = 0
		} else if gone++; gone == goneLooks && len(words) > 0 && words[0] == update.Binary {
			return apart(filepath.Join(updatesDir(data), "client.log"), words)
		}
		clock.Pause(ctx, lookAgain)
	}
	return nil
}
