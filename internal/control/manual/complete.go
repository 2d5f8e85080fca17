package manual

import (
	"io"
	"slices"
	"strings"
)

// each calls f for every command, those that only hold others included, with the words below the program that lead to it.
func (c *Command) each(path []string, f func(path []string, c *Command)) {
	f(path, c)
	for i := range c.Commands {
		c.Commands[i].each(append(path[:len(path):len(path)], c.Commands[i].Name), f)
	}
}

// next are the words that may follow a command: the commands below it and its flags.
func (c *Command) next() []string {
	var words []string
	for _, s := range c.Commands {
		words = append(words, s.Name)
	}
	for _, f := range c.Flags {
		words = append(words, "--"+f.Name)
	}
	return append(words, "--help")
}

// takesFiles says whether a command's arguments name files.
func (c *Command) takesFiles() bool {
	return slices.ContainsFunc(c.Args, func(a Arg) bool { return a.Files })
}

// valued are the flags that take a value, by all their commands.
func (c *Command) valued() (files, others []string) {
	c.each(nil, func(_ []string, c *Command) {
		for _, f := range c.Flags {
			switch name := "--" + f.Name; {
			case f.Value == "":
			case f.Files && !slices.Contains(files, name):
				files = append(files, name)
			case !f.Files && !slices.Contains(others, name):
				others = append(others, name)
			}
		}
	})
	slices.Sort(files)
	slices.Sort(others)
	return files, others
}

// Bash writes the completion of bash.
func Bash(w io.Writer, root *Command) error {
	p := &printer{w: w}
	files, others := root.valued()
	p.f("# Completion of %s for bash. Made from the program; do not edit.\n_%s() {\n", root.Name, root.Name)
	p.f("  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' word next='' files=''\n  COMPREPLY=()\n")
	p.f("  case $prev in\n    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n    %s) return ;;\n  esac\n", bar(files), bar(others))
	p.f("  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$path $word\" in\n")
	var paths []string
	root.each(nil, func(path []string, _ *Command) {
		if len(path) > 0 {
			paths = append(paths, "' "+strings.Join(path, " ")+"'")
		}
	})
	p.f("      %s) path=\"$path $word\" ;;\n    esac\n  done\n  case $path in\n", strings.Join(paths, "|"))
	root.each(nil, func(path []string, c *Command) {
		mark := ""
		if c.takesFiles() {
			mark = " files=1"
		}
		p.f("    '%s') next='%s'%s ;;\n", spaced(path), strings.Join(c.next(), " "), mark)
	})
	p.f("  esac\n  COMPREPLY=($(compgen -W \"$next\" -- \"$cur\"))\n")
	p.f("  [[ -z $files || $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n}\ncomplete -o filenames -F _%s %s\n", root.Name, root.Name)
	return p.err
}

func bar(words []string) string {
	if len(words) == 0 {
		return "''"
	}
	return strings.Join(words, "|")
}

func spaced(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return " " + strings.Join(path, " ")
}

// Zsh writes the completion of zsh.
func Zsh(w io.Writer, root *Command) error {
	p := &printer{w: w}
	p.f("#compdef %s\n# Completion of %s for zsh. Made from the program; do not edit.\n_%s() {\n", root.Name, root.Name, root.Name)
	p.f("  local path='' word\n  local -a next\n  for word in \"${(@)words[2,CURRENT-1]}\"; do\n    case \"$path $word\" in\n")
	root.each(nil, func(path []string, _ *Command) {
		if len(path) > 0 {
			p.f("      '%s') path=\"$path $word\" ;;\n", spaced(path))
		}
	})
	p.f("    esac\n  done\n  case $path in\n")
	root.each(nil, func(path []string, c *Command) {
		p.f("    '%s') next=(", spaced(path))
		for _, s := range c.Commands {
			p.f(" '%s:%s'", s.Name, quoted(s.Help))
		}
		for _, f := range c.Flags {
			p.f(" '--%s:%s'", f.Name, quoted(f.Help))
		}
		p.f(") ;;\n")
	})
	p.f("  esac\n  _describe -t words '%s' next\n  _files\n}\n_%s \"$@\"\n", root.Name, root.Name)
	return p.err
}

// quoted keeps help from ending the quotation marks or the word that it explains.
func quoted(s string) string {
	return strings.NewReplacer("'", "’", `\`, "", "\n", " ", ":", " -").Replace(s)
}

// Fish writes the completion of fish.
func Fish(w io.Writer, root *Command) error {
	p := &printer{w: w}
	p.f("# Completion of %s for fish. Made from the program; do not edit.\n", root.Name)
	root.each(nil, func(path []string, c *Command) {
		when := "__fish_use_subcommand"
		if len(path) > 0 {
			when = "__fish_seen_subcommand_from " + strings.Join(path, "; and __fish_seen_subcommand_from ")
		}
		for _, s := range c.Commands {
			p.f("complete -c %s -f -n '%s' -a %s -d '%s'\n", root.Name, when, s.Name, quoted(s.Help))
		}
		for _, f := range c.Flags {
			p.f("complete -c %s -n '%s' -l %s%s -d '%s'\n", root.Name, when, f.Name, fishValue(f), quoted(f.Help))
		}
	})
	return p.err
}

func fishValue(f Flag) string {
	switch {
	case len(f.Words) > 0:
		return " -x -a '" + strings.Join(f.Words, " ") + "'"
	case f.Files:
		return " -r -F"
	case f.Value != "":
		return " -x"
	}
	return ""
}
