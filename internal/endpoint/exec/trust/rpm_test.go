package trust_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/trust"
)

const spec = `Name: trusted
Version: 1
Release: 1
Summary: A package of a test
License: none
BuildArch: noarch
%global _binary_filedigest_algorithm ALGORITHM
%description
A program, a folder, a link and a file that no package brings.
%install
mkdir -p %{buildroot}/opt/trusted
printf 'a program of a package' >%{buildroot}/opt/trusted/program
ln -s program %{buildroot}/opt/trusted/link
%files
/opt/trusted
%ghost /opt/trusted/ghost
`

// TestRPM builds a package with the real rpmbuild, installs it into a database of its own with the real rpm, and trusts what it brings. The
// checksums of the package are SHA-256, as they are now, and MD5, as they were.
func TestRPM(t *testing.T) {
	for _, program := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip("no rpm here: apt-get install rpm")
		}
	}
	for name, algorithm := range map[string]string{"SHA-256": "8", "MD5": "1"} {
		root, build := t.TempDir(), t.TempDir()
		if p, err := trust.Load(t.Context(), root); err != nil || p.Len() != 0 {
			t.Errorf("without a database: %v", err)
		}
		rpm(t, build, algorithm, filepath.Join(root, "var/lib/rpm"))
		p, err := trust.Load(t.Context(), root)
		if err != nil || p.Len() != 1 {
			t.Errorf("%s: %d checksums, %v", name, p.Len(), err)
			continue
		}
		program := filepath.Join(root, "opt/trusted/program")
		if err := errors.Join(os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		listed, err := trust.RPM(t.Context(), root, []string{"absent", "trusted", "--all"})
		if programs := trust.Programs(root, listed); err != nil || len(listed) != 4 || len(programs) != 3 || programs[2].Path != "/opt/trusted/program" {
			t.Errorf("%s: files of the package: %v, %v", name, listed, err)
		}
		for text, want := range map[string]bool{"a program of a package": true, "a program of a package.": false, "": false} {
			if p.Trusted(open(t, text)) != want {
				t.Errorf("%s: %q: %v", name, text, !want)
			}
		}
	}
}

// rpm makes the package and its database.
func rpm(t *testing.T, build, algorithm, database string) {
	t.Helper()
	text := []byte(strings.ReplaceAll(spec, "ALGORITHM", algorithm))
	path := filepath.Join(build, "trusted.spec")
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.MkdirAll(database, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"rpmbuild", "--quiet", "-bb", "--define", "_topdir " + build, "--define", "_tmppath " + build, path},
		{"rpm", "--dbpath", database, "--initdb"},
		{"rpm", "--dbpath", database, "-i", "--justdb", "--nodeps", "--noscripts", "--nosignature", filepath.Join(build, "RPMS/noarch/trusted-1-1.noarch.rpm")},
	} {
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+build)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", words, err, out)
		}
	}
}
