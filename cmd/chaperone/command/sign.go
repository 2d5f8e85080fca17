//go:build linux

package command

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/server"
	"golang.org/x/term"
)

// SignFlags say who reads, and what for.
type SignFlags struct {
	Account      string `name:"account" placeholder:"NAME" help:"Account that asks. Without it the user of this machine does; root administers and does not read."`
	PasswordFile string `name:"password-file" type:"path" placeholder:"FILE" help:"File with the account's password; else CHAPERONE_PASSWORD, else it is asked for."`
	Code         string `name:"code" placeholder:"CODE" help:"Code of the second factor, when the account has one."`
	Purpose      string `name:"purpose" placeholder:"TEXT" help:"Why content is read; it goes into the ledger."`
}

func (s *SignFlags) Sign(e *Env) (server.Sign, error) {
	out := server.Sign{Account: s.Account, Code: s.Code, Purpose: s.Purpose}
	if s.Account == "" {
		return out, nil
	}
	var err error
	out.Password, err = s.password(e)
	return out, err
}

func (s *SignFlags) password(e *Env) (string, error) {
	if s.PasswordFile != "" {
		raw, err := ReadSmall(s.PasswordFile)
		return strings.TrimRight(string(raw), "\r\n"), err
	}
	if p, ok := os.LookupEnv("CHAPERONE_PASSWORD"); ok {
		return p, nil
	}
	if f, ok := e.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(e.ErrOut, "password of %s: ", s.Account)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(e.ErrOut)
		return string(raw), err
	}
	return "", hint.New(errors.New("no password was given"), "--password-file FILE, or CHAPERONE_PASSWORD in the environment")
}

// ReadingHint says what helps when somebody may not read.
func ReadingHint(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, archive.ErrNoPurpose) || strings.Contains(err.Error(), archive.ErrNoPurpose.Error()):
		return hint.New(err, `--purpose "why you look"; it goes into the ledger`)
	case strings.HasSuffix(err.Error(), "it needs the role counsel"):
		return hint.New(err, "--account NAME of counsel; reviewers read, and neither hold nor dispose")
	case errors.Is(err, control.ErrForbidden) || strings.Contains(err.Error(), archive.ErrNotReader.Error()):
		return hint.New(err, "--account NAME of a reviewer or counsel; administrators, root among them, do not read")
	}
	return err
}
