// Package agentcmd holds `chaperone agent`: execution control on this machine, and what people and administrators ask of it.
package agentcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/holder"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/inflight"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/tell"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Command is `chaperone agent`.
type Command struct {
	Run        runCmd        `cmd:"" default:"withargs" help:"Decide on every program that is started on this machine, until ended. Needs root."`
	Status     statusCmd     `cmd:"" help:"Say how the agent of this machine does."`
	Request    requestCmd    `cmd:"" help:"Ask for an exception for a program, or give in the code of one."`
	Harden     hardenCmd     `cmd:"" help:"Say which ways around the agent this machine leaves open, and close some."`
	Exceptions exceptionsCmd `cmd:"" help:"List what codes approved on this machine, or withdraw it. Needs root."`
	Code       codeCmd       `cmd:"" help:"Make the code of an exception, for one program on one machine."`
	Worker     workerCmd     `cmd:"" hidden:"" help:"The part that decides; the agent starts it."`
	Tell       tellCmd       `cmd:"" hidden:"" help:"The part that tells people; the worker starts it."`
}

// flags are those of agent and worker.
type flags struct {
	command.DataFlags
	Policy string `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	Mode   string `name:"mode" enum:",monitor,deny-list,learn,lockdown" default:"" help:"monitor, deny-list, learn or lockdown; else that of the configuration."`
	Host   string `name:"host" placeholder:"NAME" help:"The machine that records are about; this one without it."`
	Door   string `name:"socket" placeholder:"PATH" help:"Where people ask; else agent.socket of the configuration, else /run/chaperone/agent.sock."`
	Only   string `name:"only" placeholder:"DIR" help:"Watch nothing but file systems mounted below this folder, to try the agent."`
	Sys    string `name:"sysfs" placeholder:"DIR" hidden:"" help:"For tests: where devices are looked up."`
	Good   string `name:"last-good" placeholder:"DIR" hidden:"" help:"What the agent worked with last; the agent tells its worker."`
	Old    bool   `kong:"-"` // the configuration is the last good one
}

// args gives the flags to a worker.
func (f *flags) args() []string {
	args := []string{"agent", "worker"}
	for _, a := range [][2]string{{"--data", f.Data}, {"--config", f.Config}, {"--policy", f.Policy}, {"--mode", f.Mode}, {"--host", f.Host},
		{"--socket", f.Door}, {"--only", f.Only}, {"--sysfs", f.Sys}, {"--last-good", f.Good}} {
		if a[1] != "" {
			args = append(args, a[0], a[1])
		}
	}
	return args
}

// settings returns the configuration, or the last good one where it cannot be loaded, with what the flags say instead.
func (f *flags) settings() (*config.Config, error) {
	c, err := f.Load()
	if err != nil && f.Config != "" {
		if old := f.lastSettings(err); old != nil {
			c, err, f.Old = old, nil, true
		}
	}
	if err != nil {
		return nil, err
	}
	if f.Mode != "" {
		c.Agent.Mode = f.Mode
	}
	if f.Door != "" {
		c.Agent.Socket = f.Door
	}
	return c, nil
}

type runCmd struct{ flags }

// Run holds. The policy is tried first, so that a mistake in it is told here.
func (c *runCmd) Run(e *command.Env) error {
	settings, err := c.settings()
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if os.Geteuid() != 0 {
		return hint.New(errors.New("the agent needs root: fanotify answers nobody else"), "sudo chaperone agent, or the unit chaperone-agent of the package")
	}
	if err != nil {
		return err
	}
	if mark := container(); c.Only == "" && mark != "" {
		return hint.New(fmt.Errorf("this is a container: there is %s", mark), "the file systems that a container sees are the machine's: run the agent on the machine, "+
			"it watches containers too; to try it on a file system of its own, --only DIR")
	}
	if c.Only != "" && !command.FileExists(c.Only) {
		return hint.New(fmt.Errorf("--only %s: there is no such folder", c.Only), "nothing would be watched: name the folder that a file system is mounted at")
	}
	release, err := alone(filepath.Join(settings.Data(), "agent"), settings.Path(settings.Agent.Socket))
	if err != nil {
		return err
	}
	defer release()
	good := lastGoodOf(settings)
	if c.Good = string(good); c.Config != "" && !c.Old {
		if err := good.keepConfig(c.Config); err != nil {
			return err
		}
	}
	in, err := c.rules(e, settings)
	if err != nil {
		return err
	}
	if in.Problem != "" {
		fmt.Fprintf(e.ErrOut, "chaperone: %s\n", in.Problem)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGHUP, unix.SIGUSR1)
	defer signal.Stop(signals)
	s := newService(os.Getenv("NOTIFY_SOCKET"))
	defer s.close()
	fmt.Fprintf(e.ErrOut, "chaperone: agent in mode %s, policy %s version %s\n", settings.Agent.Mode, in.Policy.File().Name(), in.Policy.Version())
	if word := agent.Lenient(judge.Mode(settings.Agent.Mode), in.Policy); word != "" {
		fmt.Fprintf(e.ErrOut, "chaperone: note: %s\n", word)
	}
	err = holder.Run(e.Ctx, holder.Options{
		Binary: self, Opens: judge.Mode(settings.Agent.Mode).Locks(), Watch: judge.Mode(settings.Agent.Mode).Watches(), Only: c.Only, Log: e.ErrOut, Signals: passed(e.Ctx, signals),
		Alive: s.alive, Ready: func() {
			s.say("READY=1")
			go fmt.Fprintln(e.ErrOut, "chaperone: agent decides") // the loop waits for no log
		},
		Command: func() *exec.Cmd {
			cmd := exec.Command(self, c.args()...)
			cmd.Args[0] = os.Args[0] // test binaries tell from it which command they are
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
			return cmd
		},
	})
	if errors.Is(err, unix.EPERM) {
		return hint.New(err, "the agent needs CAP_SYS_ADMIN in the first user namespace: it does not run in a container")
	}
	return err
}

// container returns the file that tells that this is a container, or nothing. An agent there would stop the whole machine's programs.
func container() string {
	for _, mark := range []string{"/run/systemd/container", "/.dockerenv", "/run/.containerenv"} {
		if command.FileExists(mark) {
			return mark
		}
	}
	return ""
}

// passed turns the signals of an administrator into those of a worker: HUP loads the policy, USR1 starts the worker anew, from the binary that is
// there now.
func passed(ctx context.Context, in <-chan os.Signal) <-chan os.Signal {
	out := make(chan os.Signal)
	go func() {
		for {
			var s os.Signal
			select {
			case s = <-in:
			case <-ctx.Done():
				return
			}
			if s == unix.SIGUSR1 {
				s = unix.SIGTERM
			}
			select {
			case out <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

type workerCmd struct{ flags }

// Where the holder puts the socket, and the memory of what is about to be reported.
const (
	socketFD = 3
	memoryFD = 4
)

// Run decides until the holder hangs up.
func (c *workerCmd) Run(e *command.Env) error {
	unix.CloseOnExec(socketFD)
	memory, err := inflight.Map(memoryFD)
	if err != nil { // the holder has none, or is of an older version
		memory = nil
	} else {
		unix.CloseOnExec(memoryFD)
	}
	settings, err := c.settings()
	if err != nil {
		return err
	}
	host := c.Host
	if host == "" {
		if host, err = os.Hostname(); err != nil {
			return fmt.Errorf("name of this machine: %w", err)
		}
	}
	var secret []byte
	if settings.Agent.Secret != "" {
		if secret, err = readSecret(settings.Agent.Secret, settings.Dir); err != nil {
			go fmt.Fprintf(e.ErrOut, "chaperone: no codes are taken: %v\n", err) // a log that is full stops nobody
		}
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	defer signal.Stop(reload)
	if settings.Agent.Server != "" {
		go fleetcmd.Watch(e.Ctx, settings.Data(), reload)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	recording := c.DataFlags
	if c.Old { // where the data is only the last good configuration says
		recording = command.DataFlags{Data: settings.Data()}
	}
	teller := newTeller(self)
	defer teller.close()
	return agent.Run(e.Ctx, agent.Options{
		Socket: socketFD, Mode: judge.Mode(settings.Agent.Mode), Removable: settings.Agent.Removable == "deny",
		Dir: filepath.Join(settings.Data(), "agent"), Recorder: recording.Recording(e), Secret: secret, Host: event.Host{Name: host},
		Door: settings.Path(settings.Agent.Socket), Sys: c.Sys, Programs: c.Only == "", System: system(c.Only), Teller: teller, Reload: reload, Log: e.ErrOut, Memory: memory,
		Load: func(ctx context.Context) (agent.Rules, error) {
			return c.rules(&command.Env{Ctx: ctx, In: e.In, Out: io.Discard, ErrOut: io.Discard}, settings) // where nobody reads, notes would stop us
		},
	})
}

// system are the file systems of which is kept what was allowed: those of the system, or all that are watched instead.
func system(only string) []string {
	if only == "" {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(only, "*")) // a pattern in the folder's own name finds nothing
	return append(found, only)
}

// rules are what an agent decides by, with what is wrong with it, or with the configuration.
func (f *flags) rules(e *command.Env, settings *config.Config) (agent.Rules, error) {
	r, err := f.newest(e, settings)
	if err != nil || f.Config == "" {
		return r, err
	}
	if _, wrong := command.LoadConfig(f.Config); wrong != nil {
		old := "the last good configuration is"
		if r.Old {
			old = "the last good configuration and the last good policy are"
		}
		r.Problem = fmt.Sprintf("%s in force, since the configuration of now cannot be loaded: %v", old, wrong)
	}
	return r, nil
}

// newest are the policy of the agent's fleet, else its own.
func (f *flags) newest(e *command.Env, settings *config.Config) (agent.Rules, error) {
	good := lastGoodOf(settings)
	if settings.Agent.Server != "" {
		if set, err := fleetcmd.InForce(e.Ctx, settings.Data()); set != nil || err != nil {
			return good.or(&f.DataFlags, set, err)
		}
	}
	set, err := f.Rules(e, f.Policy)
	return good.or(&f.DataFlags, set, err)
}

type tellCmd struct{}

// Run tells people until the worker ends.
func (tellCmd) Run(e *command.Env) error { return tell.Run(e.Ctx, e.In, tell.Options{}) }
