package command_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
)

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("data_dir: kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags command.DataFlags
		want  string
	}{
		{command.DataFlags{}, "data"},
		{command.DataFlags{Data: "x"}, "x"},
		{command.DataFlags{Config: file}, filepath.Join(dir, "kept")},
		{command.DataFlags{Data: "x", Config: file}, "x"},
	} {
		got, err := c.flags.Dir()
		if err != nil || got != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.flags, got, err, c.want)
		}
	}
	if _, err := (&command.DataFlags{Config: filepath.Join(dir, "none.yaml")}).Dir(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a configuration that is not there: %v", err)
	}
}

func TestPolicyFileIsTheOneNamed(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"c.yaml": "policy: mine.yaml\n", "chaperone.yaml": "policy: lies-here.yaml\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	e := &command.Env{Ctx: t.Context(), Out: io.Discard, ErrOut: &said}
	for _, c := range []struct{ config, named, want string }{
		{"c.yaml", "other.yaml", "other.yaml"}, {"c.yaml", "", "mine.yaml"}, {"", "", ""},
	} {
		got, err := (&command.DataFlags{Config: c.config}).PolicyFile(e, c.named)
		if err != nil || got != "" && filepath.Base(got) != c.want || got == "" && c.want != "" {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	if !strings.Contains(said.String(), "--config chaperone.yaml") {
		t.Errorf("a configuration that lies here and is not taken is not spoken of: %q", said.String())
	}
}

func TestSign(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from the file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	if _, err := (&command.SignFlags{Account: "rita"}).Sign(e); hint.Of(err) == "" {
		t.Errorf("no password, and no word on how to give one: %v", err)
	}
	t.Setenv("CHAPERONE_PASSWORD", "from the environment")
	for _, c := range []struct {
		flags command.SignFlags
		want  string
	}{
		{command.SignFlags{}, ""},
		{command.SignFlags{Account: "rita"}, "from the environment"},
		{command.SignFlags{Account: "rita", PasswordFile: file}, "from the file"},
	} {
		s, err := c.flags.Sign(e)
		if err != nil || s.Password != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.flags, s.Password, err, c.want)
		}
	}
}

func TestReadingHint(t *testing.T) {
	for _, err := range []error{archive.ErrNoPurpose, control.ErrForbidden, archive.ErrNotReader} {
		if got := command.ReadingHint(err); !errors.Is(got, err) || hint.Of(got) == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if err := command.ReadingHint(io.EOF); hint.Of(err) != "" {
		t.Errorf("%v has the hint %q", err, hint.Of(err))
	}
	if command.ReadingHint(nil) != nil {
		t.Error("no error became one")
	}
}

func TestReadSmallRefusesWhatIsNoSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, make([]byte, 65<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command.ReadSmall(file); err == nil || !strings.Contains(err.Error(), "64 KiB") {
		t.Errorf("%v", err)
	}
}

// TestReadingHintNamesTheRole: who may not dispose or hold is sent to counsel, who may not read to whoever reads.
func TestReadingHintNamesTheRole(t *testing.T) {
	for want, err := range map[string]error{
		"--account NAME of counsel;":              fmt.Errorf("dispose: %w: it needs the role counsel", control.ErrForbidden),
		"--account NAME of a reviewer or counsel": fmt.Errorf("erase: %w: it needs the role counsel or reviewer, of two people", control.ErrForbidden),
	} {
		if got := hint.Of(command.ReadingHint(err)); !strings.HasPrefix(got, want) {
			t.Errorf("%v: the hint is %q", err, got)
		}
	}
}
