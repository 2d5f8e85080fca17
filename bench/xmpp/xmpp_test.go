// Package xmpp_test measures the XMPP gateway against Prosody alone, on one machine in one run:
//
//	go test -bench . -benchtime 1x -v ./bench/xmpp
//
// Alice sends 200 messages a second to Bob, first straight through Prosody, then through the gateway, which records and syncs each of them
// before it passes it on. It prints the median way from Alice to Bob, what the gateway adds to it, the gateway's CPU time per message, and
// the memory that 100 sessions take.
package xmpp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

const (
	domain   = "example.org"
	rate     = 200 // messages a second
	messages = 2000
	sessions = 100
)

// TestMain is the gateway itself in a child process, so that its CPU time can be told from ours.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHAPERONE_BENCH_DIR"); dir != "" {
		if err := gateway(dir, os.Getenv("CHAPERONE_BENCH_LISTEN"), os.Getenv("CHAPERONE_BENCH_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type allow struct{}

func (allow) Decide(*policy.Input) event.Verdict {
	return event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true, Policy: "bench"}
}

func gateway(dir, listen, upstream string) error {
	key, err := seal.GenerateCompliance()
	if err != nil {
		return err
	}
	sealer, err := seal.NewSealer(filepath.Join(dir, "keys"), []*seal.PublicKey{key.Public()}, clock.System{})
	if err != nil {
		return err
	}
	names, err := file.OpenNames(dir)
	if err != nil {
		return err
	}
	j, _, err := file.Open(dir, file.Options{})
	if err != nil {
		return err
	}
	pipe := pipeline.New(pipeline.Config{Connector: "bench"}, pipeline.Deps{Policy: allow{}, Recorder: journal.NewRecorder(j, sealer, names, clock.System{})})
	g, err := xmpp.New(xmpp.Config{ID: "bench", Domain: domain, PerAddress: 1000,
		Listen:   []xmpp.Listener{{Address: listen, TLS: xmpp.StartTLS, Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}},
		Upstream: xmpp.Upstream{Address: upstream, TLS: xmpp.Off}}, xmpp.Deps{Judge: pipe, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	go pipe.Run(context.Background())
	go func() {
		<-g.Ready()
		fmt.Println("ready")
	}()
	return g.Run(context.Background())
}

// BenchmarkAddedByGateway is the whole comparison; one run is one result.
func BenchmarkAddedByGateway(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	accounts := map[string]string{"alice": "wonder", "bob": "builder"}
	for i := range sessions {
		accounts[fmt.Sprintf("user%d", i)] = "secret"
	}
	p, err := xmpptest.StartProsody(ctx, b.TempDir(), domain, accounts)
	if errors.Is(err, xmpptest.ErrMissing) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer p.Kill()
	for b.Loop() {
		compare(b, ctx, p)
	}
}

func compare(b *testing.B, ctx context.Context, p *xmpptest.Prosody) {
	alone := talk(b, ctx, p.Address)
	dir := b.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "keys"), 0o700), xmpptest.SelfSigned(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), domain)); err != nil {
		b.Fatal(err)
	}
	address, err := loopback.Address()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "CHAPERONE_BENCH_DIR="+dir, "CHAPERONE_BENCH_LISTEN="+address, "CHAPERONE_BENCH_UPSTREAM="+p.Address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		b.Fatal(err)
	}
	idle := resident(b, cmd.Process.Pid)
	talk(b, ctx, address) // warm
	user, kernel := cpu(b, cmd.Process.Pid)
	through := talk(b, ctx, address)
	userAfter, kernelAfter := cpu(b, cmd.Process.Pid)
	for i := range sessions {
		login(b, ctx, address, fmt.Sprintf("user%d", i), "secret")
	}
	crowd := resident(b, cmd.Process.Pid)
	b.ReportMetric(float64(alone.Microseconds())/1000, "alone-p50-ms")
	b.ReportMetric(float64(through.Microseconds())/1000, "through-p50-ms")
	b.ReportMetric(float64((through-alone).Microseconds())/1000, "added-p50-ms")
	b.ReportMetric(float64((userAfter-user).Microseconds())/messages, "user-µs/msg")
	b.ReportMetric(float64((kernelAfter-kernel).Microseconds())/messages, "kernel-µs/msg")
	b.ReportMetric(float64(crowd-idle)/1024, "MB/100-sessions")
	b.ReportMetric(0, "ns/op")
}

func login(b *testing.B, ctx context.Context, address, user, password string) *xmpptest.Raw {
	b.Helper()
	r, err := xmpptest.DialRaw(ctx, xmpptest.Login{Address: address, JID: user + "@" + domain, Password: password, TLS: &tls.Config{InsecureSkipVerify: true, ServerName: domain}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	if err := r.Bind(ctx, "bench"); err != nil {
		b.Fatal(err)
	}
	if err := r.Send("<presence/>"); err != nil {
		b.Fatal(err)
	}
	return r
}

// talk sends messages at the rate and returns the median time they took.
func talk(b *testing.B, ctx context.Context, address string) time.Duration {
	b.Helper()
	alice, bob := login(b, ctx, address, "alice", "wonder"), login(b, ctx, address, "bob", "builder")
	defer alice.Close()
	defer bob.Close()
	sent := make([]time.Time, messages)
	took := make([]time.Duration, 0, messages)
	arrived := make(chan error, 1)
	go func() {
		for len(took) < messages {
			m, err := bob.Await(ctx, "message")
			if err != nil {
				arrived <- err
				return
			}
			if i, err := strconv.Atoi(m.Attr("id")); err == nil {
				took = append(took, time.Since(sent[i]))
			}
		}
		arrived <- nil
	}()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := range messages {
		<-tick.C
		sent[i] = time.Now()
		if err := alice.Send(fmt.Sprintf("<message to='bob@example.org/bench' type='chat' id='%d'><body>shall we meet at noon?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>", i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-arrived; err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// cpu returns the CPU time of a process, in its own code and in the kernel for it.
func cpu(b *testing.B, pid int) (user, kernel time.Duration) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	const tick = 10 * time.Millisecond
	u, _ := strconv.Atoi(fields[11])
	k, _ := strconv.Atoi(fields[12])
	return time.Duration(u) * tick, time.Duration(k) * tick
}

// resident returns the memory of a process in KB.
func resident(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return n
}
