package command

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

// usage is an error of the command line in our words, with what helps.
func usage(err error, args []string) error {
	if flag, value, ok := negativeGiven(err, args); ok {
		return negative(flag, value)
	}
	return hint.New(err, helpFor(err))
}

// negativeGiven tells which flag was given a value that looks like a flag, because it begins with a minus.
func negativeGiven(err error, args []string) (flag, value string, ok bool) {
	text := err.Error()
	if !strings.Contains(text, "perhaps try --") {
		return "", "", false
	}
	flag, _, _ = strings.Cut(text, ":")
	at := slices.Index(args, flag)
	if at < 0 || at+1 >= len(args) || len(args[at+1]) < 2 || args[at+1][0] != '-' || args[at+1][1] < '0' || args[at+1][1] > '9' {
		return "", "", false
	}
	return flag, args[at+1], true
}

func negative(flag, value string) error {
	return hint.New(fmt.Errorf("%s %s: it cannot be negative", flag, value), "as in "+flag+" "+strings.TrimPrefix(value, "-")+"; without the flag its default holds")
}

// refuseNegative refuses numbers and times below zero: none of them means anything to any command.
func refuseNegative(k *kong.Context) error {
	for _, p := range k.Path {
		f := p.Flag
		if f == nil || !f.Target.IsValid() || !f.Target.CanInt() || f.Target.Int() >= 0 {
			continue
		}
		text := fmt.Sprint(f.Target.Int())
		if f.Target.Type() == reflect.TypeFor[time.Duration]() {
			text = time.Duration(f.Target.Int()).String()
		}
		if f.Default == text {
			continue
		}
		return negative("--"+f.Name, text)
	}
	return nil
}

// synonyms are words that people try for one another.
func synonyms() [][]string {
	return [][]string{
		{"create", "add", "new", "make", "place", "enroll-code", "quickstart"},
		{"release", "remove", "delete", "rm", "del", "refuse", "purge"},
		{"list", "ls", "show", "status"},
		{"check", "test", "validate", "lint", "verify"},
		{"search", "find", "query"},
		{"serve", "start", "run", "daemon"},
	}
}

// instead tells which command below a node was meant by a word that is none, "" when that is not known.
func instead(n *kong.Node, word string) string {
	for _, group := range synonyms() {
		if !slices.Contains(group, word) {
			continue
		}
		for _, other := range group {
			for _, c := range n.Children {
				if c.Name == other && !c.Hidden {
					return c.FullPath()
				}
			}
		}
	}
	return ""
}

// helpFor says which help lists what may be written: that of the command that was begun; or which command was meant.
func helpFor(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return "chaperone --help lists the commands"
	}
	n, path := parse.Context.Selected(), "chaperone"
	if n != nil {
		path += " " + n.Path()
	} else {
		n = parse.Context.Model.Node
	}
	if word, ok := strings.CutPrefix(err.Error(), "unexpected argument "); ok {
		if other := instead(n, word); other != "" {
			return "did you mean " + other + "? " + path + " --help lists all there is"
		}
	}
	if parse.Context.Selected() == nil {
		return "chaperone --help lists the commands"
	}
	return path + " --help lists its flags"
}
