package agentcmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
)

const notThere = "the agent of this machine does not run, or not here: systemctl status chaperone-agent"

type statusCmd struct {
	JSON bool   `name:"json" help:"One JSON object."`
	Door string `name:"socket" default:"/run/chaperone/agent.sock" placeholder:"PATH" help:"Where the agent listens."`
}

// Run asks the agent.
func (c *statusCmd) Run(e *command.Env) error {
	r, err := agent.Ask(e.Ctx, c.Door, &agent.Request{Status: true})
	if err != nil {
		return hint.New(err, notThere)
	}
	if c.JSON {
		return json.NewEncoder(e.Out).Encode(r)
	}
	_, err = fmt.Fprintf(e.Out, "mode %s, policy version %s\n%d files asked about, %d refused, %d not inspected\n%d exceptions, %d bytes to be recorded\n",
		r.Mode, r.Policy, r.Asked, r.Refused, r.NotInspected, r.Exceptions, r.Spooled)
	return err
}

type requestCmd struct {
	Reason string `name:"reason" placeholder:"TEXT" help:"What the program is needed for."`
	Code   string `name:"code" placeholder:"CODE" help:"Code that an administrator gave: the program may run at once."`
	Door   string `name:"socket" default:"/run/chaperone/agent.sock" placeholder:"PATH" help:"Where the agent listens."`
	File   string `arg:"" type:"existingfile" help:"The program."`
}

// Run asks the agent for an exception. What is asked for is on record.
func (c *requestCmd) Run(e *command.Env) error {
	sum, err := hash(c.File)
	if err != nil {
		return err
	}
	r, err := agent.Ask(e.Ctx, c.Door, &agent.Request{Path: c.File, SHA256: sum, Reason: c.Reason, Code: c.Code})
	if err != nil {
		return hint.New(err, refused(err))
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
	case exception.ErrOften.Error():
		return "five wrong codes a minute are heard, the right one too only after that"
	}
	return "chaperone agent status tells whether the agent runs"
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type codeCmd struct {
	Secret string        `name:"secret" required:"" placeholder:"REF" help:"The agent's secret: file:PATH, env:NAME or credential:NAME, as in agent.secret of its configuration."`
	Host   string        `name:"host" required:"" placeholder:"NAME" help:"The machine, as its agent calls it."`
	SHA256 string        `name:"sha256" required:"" placeholder:"HASH" help:"The program, as chaperone agent request prints it."`
	For    time.Duration `name:"for" default:"24h" help:"How long it may run, rounded up to the full hour (UTC)."`
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
	if _, err = fmt.Fprintln(e.Out, code); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.ErrOut, "chaperone: valid until %s: codes end with a full hour\n", until.Format(time.RFC3339))
	return err
}
