package command_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/search"
)

// saying is a command line whose one command ends with an error.
type saying struct {
	Say sayCmd `cmd:""`
}

type sayCmd struct {
	err error
}

func (c *sayCmd) Run() error { return c.err }

// told runs a command line and returns its status and what it said on standard error.
func told(t *testing.T, cli any, args ...string) (int, string) {
	t.Helper()
	var out, errOut strings.Builder
	status := command.Run(cli, args, &command.Env{Ctx: context.Background(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return status, errOut.String()
}

func query(t *testing.T, q string) error {
	t.Helper()
	_, err := search.Parse(q)
	if err == nil {
		t.Fatalf("%s is a query", q)
	}
	return err
}

// TestEveryMistakeHasAWayOut: each of these errors is followed by a word of what to do, also when only its words came over the socket.
func TestEveryMistakeHasAWayOut(t *testing.T) {
	_, missing := os.Stat(filepath.Join(t.TempDir(), "nosuch"))
	for _, c := range []struct {
		err  error
		want string
	}{
		{account.ErrDenied, "chaperone account link NAME"},
		{account.ErrUnknown, "chaperone account list"},
		{account.ErrRoles, "make two accounts"},
		{fmt.Errorf("person %q: %w", "laptop-19", archive.ErrNotFound), "chaperone search host:NAME"},
		{fmt.Errorf("erase 0000: %w", archive.ErrNotFound), "chaperone search --json"},
		{fmt.Errorf("pseudonym %q: %w", "alice", archive.ErrNotFound), "person-K4T9-W2MX"},
		{fmt.Errorf("release hold: %w", retention.ErrNoMatter), "chaperone hold list"},
		{query(t, "NEAR/3"), "lunch NEAR/3 friday"},
		{query(t, "lunch OR AND"), "AND and OR stand between two parts"},
		{query(t, "(lunch"), "close it"},
		{errors.New("verify: F holds no checkpoint"), "ledger.checkpoints"},
		{errors.New("verify: F is neither a checkpoint nor a bundle"), "ledger.checkpoints"},
		{fmt.Errorf("verify: %w", missing), "is the path right?"},
		{os.Mkdir("/proc/x", 0o700), "in which this user may make files"},
	} {
		for i, err := range []error{c.err, errors.New(c.err.Error())} {
			status, said := told(t, &saying{sayCmd{err}}, "say")
			remote := i == 1
			if remote && strings.Contains(c.want, "path") || remote && strings.Contains(c.want, "this user") {
				continue // a path is of the machine that the command runs on
			}
			if status != 2 || !strings.Contains(said, "\nhint: ") || !strings.Contains(said, c.want) {
				t.Errorf("status %d, said %s, want %q", status, said, c.want)
			}
		}
	}
	if _, said := told(t, &saying{sayCmd{errors.New("something else")}}, "say"); strings.Contains(said, "hint") {
		t.Errorf("a hint from nowhere: %s", said)
	}
}

type numbers struct {
	Count struct {
		Limit int           `name:"limit"`
		For   time.Duration `name:"for"`
		To    int           `name:"to" default:"-1"`
	} `cmd:""`
	Account struct {
		Create struct{} `cmd:""`
		List   struct{} `cmd:""`
	} `cmd:""`
}

func (*numbers) Run() error { return nil }

// TestMistakesOfTheCommandLine: what is negative, and words that people try for others.
func TestMistakesOfTheCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"count --limit -3":   "--limit -3: it cannot be negative\nhint: as in --limit 3",
		"count --limit=-3":   "--limit -3: it cannot be negative\nhint: as in --limit 3",
		"count --for -5h":    "--for -5h: it cannot be negative\nhint: as in --for 5h",
		"count --for=-5h":    "--for -5h0m0s: it cannot be negative",
		"count --to=-2":      "--to -2: it cannot be negative",
		"count --limit -x":   `hint: chaperone count --help lists its flags`,
		"account add x":      "hint: did you mean chaperone account create?",
		"account ls":         `did you mean "list"?`,
		"account frobnicate": "hint: chaperone account --help lists its flags",
		"nothing-like-it":    "hint: chaperone --help lists the commands",
	} {
		status, said := told(t, &numbers{}, strings.Fields(line)...)
		if status != 2 || !strings.Contains(said, want) || strings.Contains(said, "perhaps") && !strings.Contains(line, "-x") {
			t.Errorf("%s: status %d, said %s, want %q", line, status, said, want)
		}
	}
	if status, said := told(t, &numbers{}, "count", "--limit", "3", "--for", "5h"); status != 0 {
		t.Errorf("good numbers: status %d, said %s", status, said)
	}
	if status, said := told(t, &numbers{}, "count", "--to=-1"); status != 0 {
		t.Errorf("a default that is negative: status %d, said %s", status, said)
	}
}

// TestTheOtherFile: a policy given as a configuration, and the other way round, is told apart from a mistake in the right file.
func TestTheOtherFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := file("chaperone.yaml", "data_dir: data\npolicy: policy.yaml\nconsole: {listen: \"127.0.0.1:1\"}\n")
	rules := file("policy.yaml", "version: 1\nmode: monitor\nrules: []\n")
	typo := file("typo.yaml", "version: 1\nruls: []\n")
	var d command.DataFlags
	e := &command.Env{Ctx: t.Context(), ErrOut: &strings.Builder{}}
	_, ofConfig := d.Rules(e, config)
	_, ofPolicy := command.LoadConfig(rules)
	_, ofTypo := d.Rules(e, typo)
	for want, err := range map[string]error{"hint: that looks like a configuration": ofConfig, "hint: that looks like a policy": ofPolicy, "hint: did you mean": ofTypo} {
		if status, said := told(t, &saying{sayCmd{err}}, "say"); status != 2 || !strings.Contains(said, want) {
			t.Errorf("status %d, said %s, want %q", status, said, want)
		}
	}
	if _, err := command.LoadConfig(config); err != nil {
		t.Error(err)
	}
}
