// Package control holds the operations behind command line, API and console, and carries them to the one process that writes.
//
// The process that holds DIR/journal.lock listens on DIR/control.sock. A command that finds it there sends its operation and streams its
// input and output; otherwise it opens the data directory and runs the same operation itself. Who calls is known by the kernel (the user id
// of the peer), never by what the caller says. Transport is HTTP/1.1 over the socket: cancellation and streaming in both directions come
// with it.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Role is what an account may do.
type Role string

// The roles. Who administers does not read; who reads does not administer.
const (
	Administrator Role = "administrator"
	Reviewer      Role = "reviewer" // reads content with a purpose
	Counsel       Role = "counsel"  // reads content, holds, produces
	Nobody        Role = ""         // an operation that needs no role
)

// Reads reports whether the role may read content.
func (r Role) Reads() bool { return r == Reviewer || r == Counsel }

// ErrForbidden says that the caller has not the role that an operation needs.
var ErrForbidden = errors.New("not allowed for this account")

// Caller is who asks.
type Caller struct {
	Account string
	Roles   []Role
}

// Has reports whether the caller has one of the roles.
func (c Caller) Has(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return r == Nobody || slices.Contains(c.Roles, r) })
}

// Call is one use of an operation.
type Call struct {
	Caller Caller
	Args   json.RawMessage // of the operation
	In     io.Reader
	Out    io.Writer
}

// Operation is one thing that can be asked for. Run writes its answer to call.Out as it comes.
type Operation struct {
	Name  string
	Needs []Role
	Run   func(ctx context.Context, call *Call) error
}

// Operations is the explicit list of what one process offers.
type Operations []Operation

// Run checks the caller's role and runs the operation with that name.
func (ops Operations) Run(ctx context.Context, name string, call *Call) error {
	for _, op := range ops {
		if op.Name != name {
			continue
		}
		if !call.Caller.Has(op.Needs...) {
			return fmt.Errorf("%s: %w: it needs the role %v, %q has %v", name, ErrForbidden, op.Needs, call.Caller.Account, call.Caller.Roles)
		}
		return op.Run(ctx, call)
	}
	return fmt.Errorf("operation %q is not known here", name)
}

// With makes an operation whose arguments are of type A, decoded strictly.
func With[A any](name string, needs []Role, run func(ctx context.Context, call *Call, args A) error) Operation {
	return Operation{name, needs, func(ctx context.Context, call *Call) error {
		var args A
		if len(call.Args) > 0 {
			in := json.NewDecoder(bytes.NewReader(call.Args))
			in.DisallowUnknownFields()
			if err := in.Decode(&args); err != nil {
				return fmt.Errorf("%s: arguments: %w", name, err)
			}
		}
		return run(ctx, call, args)
	}}
}
