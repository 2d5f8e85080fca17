//go:build linux

package command

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// advised is what an error says, and what helps then. What comes from the process that serves is known by its words alone.
type advised struct{ says, more, do string }

// advices returns what helps, the first that fits before the others.
func advices() []advised {
	return []advised{
		{account.ErrDenied.Error(), "", "chaperone account list tells the names. chaperone account link NAME, by an administrator, makes a link by which a password is set; --code CODE when the account has a second factor"},
		{account.ErrUnknown.Error(), "", "chaperone account list tells the names; chaperone account create NAME --role ROLE makes an account"},
		{account.ErrRoles.Error(), "", "make two accounts: one with --role administrator, one with --role reviewer or counsel"},
		{archive.ErrNotFound.Error(), "person ", `nothing on record is of that name: give a person, a handle, a host or an address as the record writes it. chaperone search host:NAME finds what a machine did, chaperone search person:NAME what somebody did; the table of people binds only what is seen after it was loaded`},
		{archive.ErrNotFound.Error(), "erase ", "an id is the \"id\" of a line of chaperone search --json"},
		{archive.ErrNotFound.Error(), "pseudonym ", "a pseudonym is written as person-K4T9-W2MX, handle-…, host-… or address-…, as the console and search show it; a name needs no disclosure: chaperone person NAME"},
		{retention.ErrNoMatter.Error(), "", "chaperone hold list --account NAME --purpose TEXT lists the matters that are held"},
		{`"NEAR`, "stands where it cannot", `NEAR/3 stands between two words, as in: lunch NEAR/3 friday. To look for the word itself write it in quotes: "NEAR/3"`},
		{"stands where it cannot", "", `AND and OR stand between two parts, NOT before one. To look for such a word itself write it in quotes: "and"`},
		{"this parenthesis is never closed", "", `close it, as in: (lunch OR dinner) friday. To look for a parenthesis write it in quotes: "(a"`},
		{"holds no checkpoint", "verify: ", checkpointAdvice},
		{"is neither a checkpoint nor a bundle", "verify: ", checkpointAdvice},
	}
}

const checkpointAdvice = "--checkpoint takes what ledger.checkpoints of the configuration wrote outside: a checkpoint, a bundle, or the folder of them"

// advice says what helps with an error that has no hint of its own; "" when nothing is known that does.
func advice(err error) string {
	text := err.Error()
	for _, a := range advices() {
		if strings.Contains(text, a.says) && strings.Contains(text, a.more) {
			return a.do
		}
	}
	var path *fs.PathError
	if !errors.As(err, &path) {
		return ""
	}
	switch {
	case path.Op == "mkdir" || path.Op == "openat" || path.Op == "rename":
		return "name a place in which this user may make files: df and ls -ld tell what " + path.Path + " would lie in"
	case errors.Is(err, fs.ErrNotExist):
		return missing(path.Path)
	case errors.Is(err, fs.ErrPermission):
		return "this user may not open " + path.Path + ": ls -l tells who may; run the command as that user, or as root"
	}
	return ""
}
