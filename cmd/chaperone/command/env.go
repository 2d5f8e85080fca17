// Package command holds what the commands of the command line share: their streams, the flags that name a data directory, a configuration and who asks, and the way an operation is carried out.
package command

import (
	"context"
	"errors"
	"io"
)

// Env is what a command runs with. Tests give it their own streams.
type Env struct {
	Ctx    context.Context
	In     io.Reader
	Out    io.Writer
	ErrOut io.Writer

	Version string // of this program

	session *session // what the command has open
}

// ErrFindings makes the exit status 1: findings that policy forbids, or a verification that failed.
var ErrFindings = errors.New("findings")
