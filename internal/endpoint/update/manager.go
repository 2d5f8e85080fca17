package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
)

// Facts are what a package says of itself.
type Facts struct {
	Format, Package, Version, Architecture string
}

// Manager is a package manager.
type Manager interface {
	Installed(ctx context.Context) (Facts, error) // the package of this program that is installed, whole
	Describe(ctx context.Context, path string) (Facts, error)
	Newer(ctx context.Context, a, b string) (bool, error) // whether version a is higher than b, by its rules
	Install(ctx context.Context, path string) error       // also a lower version
	Keep(ctx context.Context, f Facts, to string) error   // makes a package of what is installed
}

// Errors of package managers.
var (
	ErrNotInstalled = errors.New("this program was not installed by a package of the system")
	ErrNotKept      = errors.New("there is no package of what is installed to go back to")
)

// Time limits of package managers.
const (
	askTime     = 30 * time.Second
	installTime = 10 * time.Minute
	keepTime    = 5 * time.Minute
)

// The programs of package managers, at their places: nothing is looked for in a PATH.
const (
	dpkgPath      = "/usr/bin/dpkg"
	dpkgDebPath   = "/usr/bin/dpkg-deb"
	dpkgQueryPath = "/usr/bin/dpkg-query"
	rpmPath       = "/usr/bin/rpm"
)

// ManagerOf returns the package manager that installed this program as binary, or says that none did.
func ManagerOf(ctx context.Context, binary string) (Manager, error) {
	if out, err := run(ctx, askTime, dpkgQueryPath, "--search", binary); err == nil {
		for line := range strings.Lines(out) {
			if line == release.Package+": "+binary+"\n" {
				return Dpkg{}, nil
			}
		}
	}
	if out, err := run(ctx, askTime, rpmPath, "--query", "--file", "--queryformat", "%{NAME}\\n", binary); err == nil && out == release.Package+"\n" {
		return RPM{}, nil
	}
	return nil, ErrNotInstalled
}

// Describer returns what reads packages of a file's format, by the end of its name.
func Describer(path string) (Manager, error) {
	switch filepath.Ext(path) {
	case ".deb":
		return Dpkg{}, nil
	case ".rpm":
		return RPM{}, nil
	}
	return nil, fmt.Errorf("%s: the name of a package ends in .deb or .rpm", path)
}

// Dpkg is that of Debian and what comes of it.
type Dpkg struct{}

// Installed implements Manager.
func (Dpkg) Installed(ctx context.Context) (Facts, error) {
	out, err := run(ctx, askTime, dpkgQueryPath, "--show", "--showformat=${db:Status-Abbrev}\\t${Package}\\t${Version}\\t${Architecture}\\n", release.Package)
	if err != nil {
		return Facts{}, ErrNotInstalled
	}
	status, rest, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\t")
	f, err := facts(release.Deb, rest)
	if !strings.HasPrefix(status, "ii") && !strings.HasPrefix(status, "hi") {
		return f, fmt.Errorf("%w whole: dpkg calls it %q", ErrNotInstalled, strings.TrimSpace(status))
	}
	return f, err
}

// Describe implements Manager.
func (Dpkg) Describe(ctx context.Context, path string) (Facts, error) {
	out, err := run(ctx, askTime, dpkgDebPath, "--show", "--showformat=${Package}\\t${Version}\\t${Architecture}", path)
	if err != nil {
		return Facts{}, err
	}
	return facts(release.Deb, out)
}

// Newer implements Manager.
func (Dpkg) Newer(ctx context.Context, a, b string) (bool, error) {
	_, err := run(ctx, askTime, dpkgPath, "--compare-versions", a, "gt", b)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// Install implements Manager. Configuration that somebody changed stays as it is; nobody is asked anything.
func (Dpkg) Install(ctx context.Context, path string) error {
	_, err := run(ctx, installTime, dpkgPath, "--force-confold", "--install", path)
	return err
}

// Keep implements Manager.
func (Dpkg) Keep(ctx context.Context, f Facts, to string) error {
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	return quarantine.Repack(ctx, quarantine.Owner{Manager: quarantine.Dpkg, Package: f.Package, Version: f.Version}, to)
}

// RPM is that of Red Hat, SUSE and what comes of them.
type RPM struct{}

const rpmFacts = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n"

// Installed implements Manager.
func (RPM) Installed(ctx context.Context) (Facts, error) {
	out, err := run(ctx, askTime, rpmPath, "--query", "--queryformat", rpmFacts, release.Package)
	if err != nil {
		return Facts{}, ErrNotInstalled
	}
	return facts(release.RPM, strings.TrimSuffix(out, "\n"))
}

// Describe implements Manager. Signatures of rpm are not asked for: the note vouches for the file.
func (RPM) Describe(ctx context.Context, path string) (Facts, error) {
	out, err := run(ctx, askTime, rpmPath, "--query", "--nosignature", "--queryformat", rpmFacts, "--package", path)
	if err != nil {
		return Facts{}, err
	}
	return facts(release.RPM, strings.TrimSuffix(out, "\n"))
}

// Newer implements Manager. Versions are of letters that mean nothing to rpm's macros.
func (RPM) Newer(ctx context.Context, a, b string) (bool, error) {
	if !release.Version(a) || !release.Version(b) {
		return false, fmt.Errorf("rpm: no versions: %q, %q", a, b)
	}
	out, err := run(ctx, askTime, rpmPath, "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", a, b))
	if err != nil {
		return false, err
	}
	switch strings.TrimSpace(out) {
	case "1":
		return true, nil
	case "0", "-1":
		return false, nil
	}
	return false, fmt.Errorf("rpm: comparing versions gave %.64q", out)
}

// Install implements Manager.
func (RPM) Install(ctx context.Context, path string) error {
	_, err := run(ctx, installTime, rpmPath, "--upgrade", "--oldpackage", "--replacepkgs", path)
	return err
}

// Keep implements Manager. rpm makes no package of what is installed: the one that is to be gone back to must lie there before.
func (r RPM) Keep(ctx context.Context, f Facts, to string) error {
	kept, err := r.Describe(ctx, to)
	if err != nil || kept != f {
		return fmt.Errorf("%w: the package of version %s must lie at %s", ErrNotKept, f.Version, to)
	}
	return nil
}

// facts reads the line that package managers are told to write.
func facts(format, line string) (Facts, error) {
	f := strings.Split(line, "\t")
	if len(f) != 3 || f[0] != release.Package {
		return Facts{}, fmt.Errorf("no package of %s: %.128q", release.Package, line)
	}
	if !release.Version(f[1]) {
		return Facts{}, fmt.Errorf("no version of a package: %.128q", f[1])
	}
	return Facts{Format: format, Package: f[0], Version: f[1], Architecture: f[2]}, nil
}

// maxSaid bounds what is kept of a program's output.
const maxSaid = 64 << 10

// run runs a program without a shell, and returns what it wrote.
func run(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	cmd.WaitDelay = 10 * time.Second
	var out, said bounded
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w%s", filepath.Base(name), err, lastLine(said.String()))
	}
	return out.String(), nil
}

// environment is what package managers and their scripts see.
func environment() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	if dir := os.Getenv("TMPDIR"); dir != "" {
		env = append(env, "TMPDIR="+dir)
	}
	return env
}

// lastLine is the last thing that a program said, as part of an error; of dpkg, what it said before it listed which packages that was about.
func lastLine(said string) string {
	said, _, _ = strings.Cut(said, "Errors were encountered while processing:")
	said = strings.TrimSpace(said)
	if said == "" {
		return ""
	}
	line := said[strings.LastIndexByte(said, '\n')+1:]
	return ": " + line[:min(len(line), 300)]
}

// bounded keeps the beginning of what is written.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxSaid - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}
