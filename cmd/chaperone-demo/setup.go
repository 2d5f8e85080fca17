package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

// peers are the real programs around the one that is shown.
type peers struct {
	prosody     *xmpptest.Prosody
	clamd       *clamdtest.Server
	alice, bob  *xmpptest.Client
	gateway     string // addresses
	uploads     string
	console     string
	namespaceUp bool
}

// aliceAddress is her machine in the generated captures.
const aliceAddress = "10.77.0.17"

func (s *stage) setUp() error {
	if err := s.freshDir(); err != nil {
		return err
	}
	if err := s.ports(); err != nil {
		return err
	}
	if _, err := quickstart.Write(quickstart.Options{Dir: s.dir, Profile: "plain", Domain: "example.org", Console: s.console, Shares: 3, Needed: 2}); err != nil {
		return err
	}
	if err := s.reviewerPassword(); err != nil {
		return err
	}
	var err error
	if s.prosody, err = xmpptest.StartProsody(s.ctx, filepath.Join(s.dir, "prosody"), "example.org", map[string]string{"alice": "a", "bob": "b"}); err != nil {
		return err
	}
	s.later(s.prosody.Stop)
	s.clamd, err = clamdtest.Launch(s.ctx)
	if err != nil {
		return err
	}
	s.later(s.clamd.Stop)
	if err := s.buildNamespace(); err != nil {
		return err
	}
	if err := s.configure(); err != nil {
		return err
	}
	if err := s.serve(); err != nil {
		return err
	}
	if s.alice, err = s.dial("alice", "a"); err != nil {
		return err
	}
	s.bob, err = s.dial("bob", "b")
	return err
}

// marker is in the throw-away folder, so that no other folder is ever removed.
const marker = ".chaperone-demo"

func (s *stage) freshDir() error {
	if entries, err := os.ReadDir(s.dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(s.dir, marker)); err != nil {
			return fmt.Errorf("%s is not empty and not of an earlier demo; name another folder with -dir", s.dir)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(filepath.Join(s.dir, "prosody"), 0o755), os.WriteFile(filepath.Join(s.dir, marker), nil, 0o644))
}

// ports finds free ones on loopback.
func (s *stage) ports() error {
	for _, p := range []*string{&s.gateway, &s.uploads, &s.console} {
		at, err := loopback.Address()
		if err != nil {
			return err
		}
		*p = at
	}
	return nil
}

func (s *stage) reviewerPassword() error {
	book, err := account.Open(filepath.Join(s.dir, "data"), clock.System{})
	if err != nil {
		return err
	}
	password := event.RandomID()
	if err := book.SetPassword("reviewer", password); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "reviewer.password"), []byte(password), 0o600)
}

// configure turns the quickstart configuration into one with every plane: the gateway, the resolver, clamd, and a recipient of checkpoints.
func (s *stage) configure() error {
	raw, err := os.ReadFile(s.config())
	if err != nil {
		return err
	}
	text := strings.Replace(string(raw), "checkpoints: []", `checkpoints: ["file:outside"]`, 1)
	text = strings.Replace(text, `metrics: {listen: "127.0.0.1:9464"}`, "", 1)
	text += fmt.Sprintf(`
gateways:
  - id: office
    kind: xmpp
    domain: example.org
    listen: [{address: "%[1]s", tls: starttls, certificate: %[2]s, key: %[3]s}]
    upstream: {address: "%[4]s", tls: starttls, ca: %[2]s}
    uploads: {listen: "%[5]s", upstream: "%[6]s"}
inspectors: {malware: {clamd: "%[7]s"}}
`, s.gateway, s.prosody.Certificate, s.prosody.Key, s.prosody.Address, s.uploads, s.prosody.HTTP, s.clamd.Address)
	if s.namespaceUp {
		text += fmt.Sprintf("network:\n  resolver: {listen: [\"%s:53\"], upstream: [\"%s\"]}\n", hostAddress, upstreamAddress)
	}
	people := "person,name,handle,host,address\nalice,Alice Example,alice@example.org,laptop-17," + aliceAddress + "\nbob,Bob Example,bob@example.org,,\n"
	rules, err := os.ReadFile(filepath.Join(s.dir, "policy.yaml"))
	if err != nil {
		return err
	}
	enforced := strings.Replace(string(rules), "mode: {network: monitor, programs: monitor, messages: enforce}", "mode: enforce", 1)
	return errors.Join(
		os.MkdirAll(filepath.Join(s.dir, "outside"), 0o755),
		os.WriteFile(s.config(), []byte(text), 0o644),
		os.WriteFile(filepath.Join(s.dir, "policy.yaml"), []byte(enforced), 0o644),
		os.WriteFile(filepath.Join(s.dir, "people.csv"), []byte(people), 0o644))
}

// serve starts chaperone serve and waits for its word.
func (s *stage) serve() error {
	log, err := os.Create(filepath.Join(s.dir, "serve.log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(s.bin, "serve", "--config", s.config())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	s.later(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-exited
		}
		log.Close()
	})
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-exited:
			return fmt.Errorf("serve ended: %s", s.serveLog())
		default:
		}
		if raw, err := os.ReadFile(log.Name()); err == nil && strings.Contains(string(raw), "console: https://") {
			return nil
		}
	}
	return fmt.Errorf("serve does not come up: %s", s.serveLog())
}

func (s *stage) serveLog() string {
	raw, err := os.ReadFile(filepath.Join(s.dir, "serve.log"))
	if err != nil {
		return ""
	}
	if len(raw) > 4000 {
		raw = raw[len(raw)-4000:]
	}
	return string(raw)
}

func (s *stage) dial(name, password string) (*xmpptest.Client, error) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	c, err := xmpptest.Dial(ctx, xmpptest.Login{Address: s.gateway, JID: name + "@example.org/desk", Password: password, TLS: s.prosody.TLS()})
	if err != nil {
		return nil, fmt.Errorf("%s signs in through the gateway: %w", name, err)
	}
	s.later(c.Close)
	return c, nil
}
