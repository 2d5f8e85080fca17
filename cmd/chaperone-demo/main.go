// Command chaperone-demo plays the whole story on one machine: a real Prosody behind the gateway, a real clamd, real clients over the wire,
// captures, files, a network namespace, and an adversary with root and the signing key. It says what it does and shows the proof.
//
// It is a program of its own so that the one that runs in production carries neither test clients nor an adversary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	once := flag.Bool("once", os.Getenv("DEMO_ONCE") == "1", "exit with a status instead of staying up")
	dir := flag.String("dir", "demo-data", "throw-away folder; it is removed and made anew")
	bin := flag.String("chaperone", "bin/chaperone", "the program to show")
	corpus := flag.String("corpus", "../shared/corpus", "real captures, replayed where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := play(ctx, os.Stdout, options{*dir, *bin, *corpus, *once}); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// options say what to show, and where.
type options struct {
	dir, bin, corpus string
	once             bool
}

// stage is where the story is played.
type stage struct {
	options
	ctx   context.Context
	out   io.Writer
	root  bool
	left  int // scenes that were left out
	undo  []func()
	began time.Time

	peers
}

// scene is one part of the story.
type scene struct {
	title string
	play  func(*stage) error
}

// scenes in their order. The explicit list is the table of contents.
func scenes() []scene {
	return []scene{
		{"A message is delivered, and was on record before", (*stage).message},
		{"A card number does not leave", (*stage).card},
		{"An edit and a retraction: every version stays", (*stage).versions},
		{"A group message", (*stage).group},
		{"A file that carries EICAR is stopped at upload", (*stage).upload},
		{"Captures: messengers named, with evidence", (*stage).captures},
		{"A folder: a renamed installer found by what it is", (*stage).folder},
		{"A renamed client is not started, nor is what lies on a stick", (*stage).start},
		{"In a network namespace: the resolver refuses a messenger's site and says why; an approved site opens", (*stage).namespace},
		{"One time line: a phrase, a flow and a program", (*stage).join},
		{"Somebody with root and the signing key removes a message and re-signs everything", (*stage).adversary},
	}
}

func play(ctx context.Context, out io.Writer, o options) (err error) {
	s := &stage{options: o, ctx: ctx, out: out, root: os.Getuid() == 0, began: time.Now()}
	defer func() {
		for i := len(s.undo) - 1; i >= 0; i-- {
			s.undo[i]()
		}
	}()
	for _, path := range []*string{&s.bin, &s.dir, &s.corpus} { // programs run in other folders
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	s.say("Setting up in %s: keys, policy, Prosody, clamd, chaperone serve.", s.dir)
	if !s.root {
		s.say("Not root: what needs root is left out, and says so.")
	}
	if err := s.setUp(); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for i, sc := range scenes() {
		fmt.Fprintf(out, "\n%d. %s\n", i+1, sc.title)
		if err := sc.play(s); err != nil {
			return fmt.Errorf("%d. %s: %w\n%s", i+1, sc.title, err, s.serveLog())
		}
	}
	return s.end()
}

func (s *stage) end() error {
	played := fmt.Sprintf("All %d scenes played", len(scenes()))
	if s.left > 0 {
		played = fmt.Sprintf("%d of %d scenes played, %d left out,", len(scenes())-s.left, len(scenes()), s.left)
	}
	fmt.Fprintf(s.out, "\n%s in %s.\n", played, time.Since(s.began).Round(time.Second))
	for _, name := range []string{"admin", "reviewer"} {
		link, err := s.chaperone("account", "link", name, "--config", s.config())
		if err != nil {
			return err
		}
		s.say("The console, as %s, once: %s", name, strings.TrimSpace(link))
	}
	if s.once {
		return nil
	}
	s.say("It stays up. Ctrl-C ends it; %s may then be removed.", s.dir)
	<-s.ctx.Done()
	return nil
}

// leaveOut says why a scene is not played.
func (s *stage) leaveOut(why string) {
	s.left++
	s.say("Left out: %s.", why)
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

// show prints what a program said, indented.
func (s *stage) show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(s.out, "   | %s\n", strings.TrimRight(line, "\n"))
	}
}

// later undoes something at the end, the last first.
func (s *stage) later(f func()) { s.undo = append(s.undo, f) }

// chaperone runs the program; findings (exit status 1) are no error.
func (s *stage) chaperone(args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, s.bin, args...)
	cmd.Dir = s.dir
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return string(out), fmt.Errorf("chaperone %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return string(out), nil
}

// prove runs a command, shows it with its output, and fails unless every want is in it.
func (s *stage) prove(want []string, args ...string) (string, error) {
	shown := strings.Join(args, " ")
	s.say("$ chaperone %s", strings.ReplaceAll(shown, s.dir+"/", ""))
	out, err := s.chaperone(args...)
	if err != nil {
		return out, err
	}
	s.show(out)
	for _, w := range want {
		if !strings.Contains(out, w) {
			return out, fmt.Errorf("the output does not hold %q", w)
		}
	}
	return out, nil
}

// reading are the flags of a reviewer who reads.
func (s *stage) reading() []string {
	return []string{"--config", s.config(), "--account", "reviewer", "--password-file", filepath.Join(s.dir, "reviewer.password"), "--purpose", "demo"}
}

func (s *stage) config() string { return filepath.Join(s.dir, "chaperone.yaml") }
