// Command resolver measures the CPU that refusing a messenger's names costs per question, side by side with unbound over the same questions.
//
//	go run ./bench/resolver [QUESTIONS]
//
// Both refuse every name of the built-in catalog and log what they refused to a file: Chaperone decides by a policy of one rule, unbound by
// local zones. dnsperf asks, over UDP on loopback. The tools are Debian's unbound and dnsperf.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const rules = `
version: 1
mode: enforce
rules: [{id: no-messengers, apps: ["*"], verdict: block, say: "Please use the firm's own chat."}]
otherwise: {network: allow}
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "resolver:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "serve" {
		return serve(args[1], args[2])
	}
	questions := 300_000
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return errors.New("usage: resolver [QUESTIONS]")
		}
		questions = n
	}
	dir, err := os.MkdirTemp("", "resolver")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	suffixes, err := names()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "questions")
	if err := os.WriteFile(file, ask(suffixes, questions), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr, err := loopback.Address()
	if err != nil {
		return err
	}
	ours, err := measure("chaperone", file, questions, addr, self, "serve", addr, filepath.Join(dir, "chaperone.log"))
	if err != nil {
		return err
	}
	if addr, err = loopback.Address(); err != nil {
		return err
	}
	conf := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(conf, unboundConf(addr, dir, suffixes), 0o600); err != nil {
		return err
	}
	theirs, err := measure("unbound", file, questions, addr, "/usr/sbin/unbound", "-d", "-c", conf)
	if err != nil {
		return err
	}
	fmt.Printf("ratio %.2f (goal <= 0.8)\n", ours/theirs)
	return nil
}

// names returns the domain suffixes of all messengers.
func names() ([]string, error) {
	c, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, app := range c.Apps() {
		for _, f := range app.Facts() {
			if f.Kind == "name" && !f.Shared {
				out = append(out, f.Text)
			}
		}
	}
	return out, nil
}

// ask returns that many questions, each about another host, in dnsperf's form.
func ask(suffixes []string, n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, "h%d.%s A\n", i, suffixes[random.IntN(len(suffixes))])
	}
	return b
}

func unboundConf(addr, dir string, suffixes []string) []byte {
	host, port, _ := net.SplitHostPort(addr)
	b := fmt.Appendf(nil, "server:\n interface: %s\n port: %s\n username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n do-daemonize: no\n"+
		" use-syslog: no\n logfile: %q\n log-queries: yes\n module-config: \"iterator\"\n ede: yes\n", host, port, dir, filepath.Join(dir, "unbound.log"))
	for _, s := range suffixes {
		b = fmt.Appendf(b, " local-zone: %q always_nxdomain\n", s)
	}
	return b
}

// measure starts a server, asks it everything once, and returns the microseconds of CPU per question.
func measure(title, file string, questions int, addr string, name string, args ...string) (float64, error) {
	server := exec.Command(name, args...)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	if err := server.Start(); err != nil {
		return 0, err
	}
	host, port, _ := net.SplitHostPort(addr)
	time.Sleep(time.Second) // both read their zones or catalog in less
	out, err := exec.Command("dnsperf", "-s", host, "-p", port, "-d", file, "-n", "1", "-e", "-q", "50").CombinedOutput()
	stopped := errors.Join(server.Process.Signal(syscall.SIGTERM), wait(server))
	if err != nil {
		return 0, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	if !strings.Contains(string(out), "NXDOMAIN "+strconv.Itoa(questions)) {
		return 0, fmt.Errorf("%s did not refuse every question (%w):\n%s", title, stopped, out)
	}
	cpu := server.ProcessState.UserTime() + server.ProcessState.SystemTime()
	each := float64(cpu.Microseconds()) / float64(questions)
	fmt.Printf("%-10s %8s CPU, %.2f µs/question\n", title, cpu.Round(time.Millisecond), each)
	return each, nil
}

func wait(server *exec.Cmd) error {
	err := server.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // ended by the signal
	}
	return err
}

// logger writes what was refused to a file, a line each.
type logger struct{ w *bufio.Writer }

// Record writes the events.
func (l logger) Record(_ context.Context, events ...*event.Event) error {
	for _, e := range events {
		if e.Question == nil {
			fmt.Fprintln(l.w, e.Kind, e.Explanation)
			continue
		}
		fmt.Fprintln(l.w, e.Time.UnixMilli(), e.Question.Client, e.Question.Name, e.Question.Type, e.Question.App, e.Verdict.Action, e.Verdict.Rule)
	}
	return nil
}

// serve runs the resolver until it is told to end.
func serve(addr, log string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := catalog.Default()
	if err != nil {
		return err
	}
	f, err := policy.Parse("policy", []byte(rules))
	if err != nil {
		return err
	}
	p, err := policy.Compile(f, policy.Known{CatalogVersion: c.Version()})
	if err != nil {
		return err
	}
	out, err := os.Create(log)
	if err != nil {
		return err
	}
	l := logger{bufio.NewWriter(out)}
	r, err := dns.New(dns.Config{Listen: []string{addr}, Upstream: []string{"127.0.0.1:1"}, RatePerClient: -1}, dns.Deps{Decider: p, Catalog: c, Recorder: l})
	if err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil {
		return err
	}
	if s := r.Stats(); s.Unrecorded > 0 {
		fmt.Printf("           %d of %d refusals were not logged: the queue was full\n", s.Unrecorded, s.Stopped)
	}
	return errors.Join(l.w.Flush(), out.Close())
}
