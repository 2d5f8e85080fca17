// Package manual writes what is told about a command line from its description: the reference page, the manual page, and completions for
// shells. They are all made from the same tree, so that none of them can be older than the program.
package manual

import (
	"fmt"
	"io"
	"strings"
)

// Command is one command with what it takes. The root is the program.
type Command struct {
	Name     string
	Help     string
	Args     []Arg
	Flags    []Flag
	Commands []Command
}

// Arg is a word that a command takes without a flag.
type Arg struct {
	Name     string
	Help     string
	Optional bool
	Many     bool
	Files    bool // it names files or folders
}

// Flag is a flag of a command.
type Flag struct {
	Name     string
	Short    string
	Value    string // what stands for its value in the help; empty when it takes none
	Help     string
	Default  string
	Required bool
	Files    bool     // its value names a file or a folder
	Words    []string // the only values that it takes
}

// walk calls f for every command that can be run, with the words that lead to it.
func (c *Command) walk(path []string, f func(path []string, c *Command)) {
	path = append(path[:len(path):len(path)], c.Name)
	if len(c.Commands) == 0 {
		f(path, c)
	}
	for i := range c.Commands {
		c.Commands[i].walk(path, f)
	}
}

func (a Arg) usage() string {
	s := "<" + a.Name + ">"
	if a.Many {
		s += " ..."
	}
	if a.Optional {
		s = "[" + s + "]"
	}
	return s
}

// usage is the line that says how a command is called.
func usage(path []string, c *Command) string {
	words := path[:len(path):len(path)]
	rest := false
	for _, f := range c.Flags {
		if f.Required {
			words = append(words, "--"+f.Name+"="+f.Value)
		} else {
			rest = true
		}
	}
	if rest {
		words = append(words, "[flags]")
	}
	for _, a := range c.Args {
		words = append(words, a.usage())
	}
	return strings.Join(words, " ")
}

// spelled is how a flag is written on the command line.
func (f Flag) spelled() string {
	s := "--" + f.Name
	if f.Value != "" {
		s += "=" + f.Value
	}
	if f.Short != "" {
		s = "-" + f.Short + ", " + s
	}
	return s
}

func (f Flag) meaning() string {
	s := f.Help
	if f.Default != "" {
		s += " Default " + f.Default + "."
	}
	return s
}

// printer collects the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Markdown writes the reference page of all commands.
func Markdown(w io.Writer, root *Command) error {
	p := &printer{w: w}
	p.f("<!-- Made by make generate; do not edit. -->\n\n# Commands\n\n%s\n\nEvery command explains itself with `--help`. Exit status: 0 fine, 1 findings that policy forbids or a "+
		"verification that failed, 2 usage or failure.\n", root.Help)
	root.walk(nil, func(path []string, c *Command) {
		p.f("\n## %s\n\n%s\n\n```\n%s\n```\n", strings.Join(path, " "), c.Help, usage(path, c))
		if len(c.Args)+len(c.Flags) == 0 {
			return
		}
		p.f("\n| | |\n|---|---|\n")
		for _, a := range c.Args {
			p.f("| `%s` | %s |\n", cell(a.usage()), cell(a.Help))
		}
		for _, f := range c.Flags {
			p.f("| `%s` | %s |\n", cell(f.spelled()), cell(f.meaning()))
		}
	})
	return p.err
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Man writes the manual page, for section 1 or 8.
func Man(w io.Writer, root *Command, section int, version string) error {
	p := &printer{w: w}
	p.f(".TH %s %d \"\" \"%s %s\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(root.Name)), section, roff(root.Name), roff(version), roff(root.Name), roff(root.Help))
	p.f(".SH SYNOPSIS\n.B %s\n.I command\n.RI [ flags ]\n.SH COMMANDS\n", roff(root.Name))
	root.walk(nil, func(path []string, c *Command) {
		p.f(".SS %s\n%s\n.PP\n.nf\n%s\n.fi\n", roff(strings.Join(path[1:], " ")), roff(c.Help), roff(usage(path, c)))
		for _, a := range c.Args {
			p.f(".TP\n.I %s\n%s\n", roff(a.usage()), roff(a.Help))
		}
		for _, f := range c.Flags {
			p.f(".TP\n.B %s\n%s\n", roff(f.spelled()), roff(f.meaning()))
		}
	})
	p.f(".SH EXIT STATUS\n.TP\n0\nFine.\n.TP\n1\nFindings that policy forbids, or a verification that failed.\n.TP\n2\nUsage or failure.\n")
	p.f(".SH SEE ALSO\nThe guides in /usr/share/doc/%s.\n", roff(root.Name))
	return p.err
}

// roff keeps text from being read as markup.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
