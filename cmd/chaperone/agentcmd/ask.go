package agentcmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/beside"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// usual is where the configuration of an agent lies, as its unit has it.
const usual = "/etc/chaperone/agent.yaml"

// doorFlags say where the agent of this machine is asked.
type doorFlags struct {
	Config string `name:"config" type:"path" placeholder:"FILE" help:"The agent's configuration, which may name the socket. Without it the agent is looked for in the usual place, and where /etc/chaperone/agent.yaml says."`
	Door   string `name:"socket" placeholder:"PATH" help:"Where the agent listens."`
}

// door finds the socket: the one that is named, else that of the configuration; without one the usual, and when nothing is there, the one
// that the usual configuration names.
func (d *doorFlags) door(usual string) (string, error) {
	if d.Door != "" {
		return d.Door, nil
	}
	if d.Config != "" {
		c, err := command.LoadConfig(d.Config)
		if err != nil {
			return "", err
		}
		return c.Path(c.Agent.Socket), nil
	}
	c, err := config.Parse(nil)
	if err != nil {
		return "", err
	}
	if other, err := config.Load(usual); err == nil && !command.FileExists(c.Agent.Socket) { // not everybody may read it
		c = other
	}
	return c.Path(c.Agent.Socket), nil
}

// ask asks the agent of this machine.
func (d *doorFlags) ask(e *command.Env, r *agent.Request) (*agent.Reply, error) {
	door, err := d.door(usual)
	if err != nil {
		return nil, err
	}
	reply, err := agent.Ask(e.Ctx, door, r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, hint.New(fmt.Errorf("no agent listens at %s", door), "systemctl status chaperone-agent says whether it runs, chaperone agent starts one; one that listens elsewhere is found by --config FILE or --socket PATH, as it was started with")
	case err != nil:
		return nil, hint.New(err, refused(err))
	}
	return reply, nil
}

type statusCmd struct {
	doorFlags
	JSON bool `name:"json" help:"One JSON object."`
}

// Run asks the agent.
func (c *statusCmd) Run(e *command.Env) error {
	r, err := c.ask(e, &agent.Request{Status: true})
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(r)
	}
	_, err = fmt.Fprintf(e.Out, "mode %s, policy version %s\n%d files asked about, %d refused, %d not inspected since %s\n%d exceptions, %d bytes to be recorded\n",
		r.Mode, r.Policy, r.Asked, r.Refused, r.NotInspected, r.Since.Local().Format(time.DateTime), r.Exceptions, r.Spooled)
	for _, more := range []string{r.Problem, r.Note} {
		if more != "" && err == nil {
			_, err = fmt.Fprintln(e.Out, more)
		}
	}
	return err
}

type requestCmd struct {
	doorFlags
	Reason string `name:"reason" placeholder:"TEXT" help:"What the program is needed for."`
	Code   string `name:"code" placeholder:"CODE" help:"Code that an administrator gave: the program may run at once."`
	JSON   bool   `name:"json" help:"One JSON object."`
	File   string `arg:"" type:"existingfile" help:"The program."`
}

// Run asks the agent for an exception. What is asked for is on record.
func (c *requestCmd) Run(e *command.Env) error {
	file := c.File
	if beside := judge.Beside(file); beside != "" { // many are the same program
		fmt.Fprintf(e.ErrOut, "chaperone: %s runs %s: that is asked for\n", printable.Line(file), printable.Line(beside))
		file = beside
	}
	sum, err := hash(file)
	if err != nil {
		return err
	}
	r, err := c.ask(e, &agent.Request{Path: file, SHA256: sum, Reason: c.Reason, Code: c.Code})
	if err != nil {
		return err
	}
	if c.JSON {
		answer := map[string]any{"type": "request", "path": file, "sha256": sum}
		if c.Code != "" {
			answer["until"] = r.Until
		} else {
			answer["id"] = r.ID
		}
		return json.NewEncoder(e.Out).Encode(answer)
	}
	if c.Code != "" {
		_, err = fmt.Fprintf(e.Out, "%s may run until %s\n", c.File, r.Until.Format(time.RFC3339))
		return err
	}
	_, err = fmt.Fprintf(e.Out, "asked: request %s\nsha256 %s\nAn administrator may approve it, or read out a code to you: chaperone agent request --code CODE %s\n", r.ID, sum, c.File)
	return err
}

// refused says what helps when an agent did not do what it was asked. Its errors come as text.
func refused(err error) string {
	switch err.Error() {
	case exception.ErrCode.Error():
		return "a code is for one host name, one sha256 and one time: compare those with who made it (chaperone agent request FILE prints the sha256), or ask for a new one; five wrong codes a minute are heard"
	case exception.ErrExpired.Error(), exception.ErrUsed.Error():
		return "ask for a new code: each is taken once, until its time"
	case exception.ErrNone.Error():
		return "its agent has no secret for them (agent.secret of its configuration): ask without --code, so that an administrator may approve it"
	case exception.ErrUnknown.Error():
		return "chaperone agent exceptions lists what codes approved; what a fleet approved is withdrawn there, what policy allows in the policy"
	case exception.ErrOften.Error():
		return "five wrong codes a minute are heard, the right one too only after that"
	}
	return "chaperone agent status tells how the agent does"
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if info.IsDir() {
		return folderSum(path)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// folderSum is the SHA-256 of the application in a folder, as the agent packs it.
func folderSum(path string) (string, error) {
	place, err := beside.Folder(path)
	if err != nil {
		return "", err
	}
	if place == nil {
		return "", fmt.Errorf("%s: no application is there", path)
	}
	f, err := place.Packed()
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, 1<<30))
	return hex.EncodeToString(h.Sum(nil)), err
}

type codeCmd struct {
	Secret string        `name:"secret" required:"" placeholder:"REF" help:"The agent's secret: file:PATH, env:NAME or credential:NAME, as in agent.secret of its configuration."`
	Host   string        `name:"host" required:"" placeholder:"NAME" help:"The machine, as its agent calls it."`
	SHA256 string        `name:"sha256" required:"" placeholder:"HASH" help:"The program, as chaperone agent request prints it."`
	For    time.Duration `name:"for" default:"24h" help:"How long it may run, rounded up to the full hour (UTC)."`
	JSON   bool          `name:"json" help:"One JSON object."`
}

// Run makes a code.
func (c *codeCmd) Run(e *command.Env) error {
	secret, err := readSecret(c.Secret, "")
	if err != nil {
		return err
	}
	if c.For <= 0 || c.For > exception.MaxTime {
		return fmt.Errorf("--for %s is not between 1h and %s", c.For, exception.MaxTime)
	}
	until := exception.Expiry(time.Now().Add(c.For))
	code, err := exception.NewCode(secret, c.Host, c.SHA256, until)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(map[string]any{"type": "code", "code": code, "host": c.Host, "sha256": c.SHA256, "until": until})
	}
	if _, err = fmt.Fprintln(e.Out, code); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.ErrOut, "chaperone: valid until %s: codes end with a full hour\n", until.Format(time.RFC3339))
	return err
}
