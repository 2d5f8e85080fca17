// Package installed knows which programs a Windows machine has installed for all its users, whose files are whose, and how each is removed.
//
// Only the machine's part of the registry is asked (HKEY_LOCAL_MACHINE, with what programs of 32 bits see of it): what a user may write there is
// never run. A command comes from Windows Installer, which is named by us, or is the quiet one that the program left; that one is run without a
// shell, only when administrators alone may write the file that it starts and the folders that lead to it.
package installed

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Program is an entry of the registry.
type Program struct {
	Key       string // its name there: unique, also between the two views
	Title     string // for people
	Version   string
	Location  string // where it is installed, "" when it does not say
	Icon      string // usually its main program
	Quiet     string // the command that removes it without questions, "" when there is none
	ByWindows bool   // Windows Installer installed it: Key is its product code
}

// productCode is what Windows Installer calls a product.
var productCode = regexp.MustCompile(`^\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$`)

// Product returns the product code without braces, "" when Windows Installer did not install the program.
func (p *Program) Product() string {
	if !p.ByWindows || !productCode.MatchString(p.Key) {
		return ""
	}
	return p.Key[1 : len(p.Key)-1]
}

// folder is where the program's files lie, "" when the registry does not say it for this program alone.
func (p *Program) folder() string {
	for _, f := range []string{p.Location, folderOf(p.Icon)} {
		if f = clean(f); own(f) {
			return f
		}
	}
	return ""
}

// iconFile is the file of an icon, which may be quoted and have a number behind it.
func iconFile(icon string) string {
	if i := strings.LastIndexByte(icon, ','); i >= 0 && strings.Trim(icon[i+1:], "-0123456789 ") == "" {
		icon = icon[:i]
	}
	return strings.Trim(icon, `" `)
}

// folderOf is the folder of an icon.
func folderOf(icon string) string {
	icon = iconFile(icon)
	if i := strings.LastIndexByte(icon, '\\'); i > 0 {
		return icon[:i]
	}
	return ""
}

func clean(path string) string {
	return strings.TrimRight(strings.ReplaceAll(strings.Trim(path, `" `), "/", `\`), `\`)
}

// shared are folders in which many programs lie.
func shared() []string {
	return []string{"windows", "program files", "program files (x86)", "programdata", "users", `program files\common files`, `program files (x86)\common files`}
}

// own reports whether a folder may be one program's own: a folder of a drive, and none that programs share.
func own(path string) bool {
	if len(path) < 4 || path[1:3] != `:\` || strings.Contains(path, "..") {
		return false
	}
	below := strings.ToLower(path[3:])
	return below != "" && !slices.Contains(shared(), below) && !strings.HasPrefix(below, `windows\`)
}

// Owning returns the program whose file path is: it lies in the program's folder itself, or is the program of its icon. What lies deeper may be
// another's, as an addition to a mail program is, and is nobody's. Of several programs the one counts whose folder is the innermost; two with the
// same folder are told apart by nothing, and neither counts.
func Owning(path string, all []Program) (Program, bool) {
	var best Program
	length, several := 0, false
	low := strings.ToLower(path)
	for _, p := range all {
		f := strings.ToLower(p.folder())
		if f == "" || !strings.HasPrefix(low, f+`\`) {
			continue
		}
		switch {
		case len(f) > length:
			best, length, several = p, len(f), false
		case len(f) == length && p.Key != best.Key:
			several = true
		}
	}
	deeper := strings.Contains(low[min(length+1, len(low)):], `\`)
	if deeper && !strings.EqualFold(iconFile(best.Icon), path) {
		return Program{}, false
	}
	return best, length > 0 && !several
}

// interpreters run what their arguments say: a path that is guarded says nothing about those.
func interpreters() []string {
	return []string{"cmd", "powershell", "pwsh", "wscript", "cscript", "mshta", "rundll32", "regsvr32", "msiexec", "bash", "python", "java", "explorer", "conhost", "forfiles"}
}

// ErrCommand says that the command in the registry is not run.
var ErrCommand = errors.New("its command in the registry is not run")

// Command returns the words of the command that removes a program. system is the folder of Windows Installer; split takes a command line apart as
// Windows does; guarded tells whether administrators alone may write a file.
func (p *Program) Command(system string, split func(string) ([]string, error), guarded func(string) error) ([]string, error) {
	if code := p.Product(); code != "" {
		return []string{system + `\msiexec.exe`, "/x", "{" + code + "}", "/qn", "/norestart"}, nil
	}
	if p.Quiet == "" {
		return nil, fmt.Errorf("%w: there is none that asks no questions", ErrCommand)
	}
	words, err := split(p.Quiet)
	if err != nil || len(words) == 0 {
		return nil, errors.Join(ErrCommand, err)
	}
	program := words[0]
	name := strings.ToLower(program[strings.LastIndexAny(program, `\/`)+1:])
	switch {
	case len(program) < 4 || program[1:3] != `:\` || strings.ContainsAny(program, "/%*?<>|") || strings.Contains(program, ".."):
		return nil, fmt.Errorf("%w: %q is no whole path", ErrCommand, program)
	case filepath.Ext(name) != ".exe":
		return nil, fmt.Errorf("%w: %q is no program", ErrCommand, program)
	case slices.Contains(interpreters(), strings.TrimSuffix(name, ".exe")):
		return nil, fmt.Errorf("%w: %s runs what its arguments say", ErrCommand, name)
	}
	if err := guarded(program); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	return words, nil
}
