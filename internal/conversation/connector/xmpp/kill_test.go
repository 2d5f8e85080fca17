package xmpp_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

const childDir = "CHAPERONE_TEST_GATEWAY_DIR"

// TestMain is the gateway itself in the child processes of TestKill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Getenv("CHAPERONE_TEST_LISTEN"), os.Getenv("CHAPERONE_TEST_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs a gateway on the real journal until it is killed.
func child(dir, listen, upstream string) error {
	text, err := os.ReadFile(filepath.Join(dir, "compliance.pub"))
	if err != nil {
		return err
	}
	key, err := seal.ParsePublic(string(text))
	if err != nil {
		return err
	}
	recorder, err := openRecorder(dir, key)
	if err != nil {
		return err
	}
	pipe := pipeline.New(pipeline.Config{Connector: "office"}, pipeline.Deps{Inspection: inspect.New([]inspect.Inspector{digits{}}, time.Minute), Policy: cards{}, Recorder: recorder})
	g, err := xmpp.New(xmpp.Config{ID: "office", Domain: domain, Listen: []xmpp.Listener{{Address: listen, TLS: xmpp.Off}},
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

func openRecorder(dir string, key *seal.PublicKey) (*journal.Recorder, error) {
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	sealer, err := seal.NewSealer(keys, []*seal.PublicKey{key}, clock.System{})
	if err != nil {
		return nil, err
	}
	names, err := file.OpenNames(dir)
	if err != nil {
		return nil, err
	}
	j, _, err := file.Open(dir, file.Options{})
	if err != nil {
		return nil, err
	}
	return journal.NewRecorder(j, sealer, names, clock.System{}), nil
}

// recorded returns the texts of all messages in the journal.
func recorded(t *testing.T, dir string, key *seal.PrivateKey) map[string]bool {
	t.Helper()
	opener := seal.NewOpener(filepath.Join(dir, "keys"), key, []*seal.PublicKey{key.Public()})
	out := map[string]bool{}
	for frame, err := range file.OpenReader(dir).Frames(t.Context(), journal.Local, 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range frame.Records {
			h, err := event.ParseHeader(r.Header)
			if err != nil {
				t.Fatal(err)
			}
			content, err := opener.Open(r.Sealed, []byte(h.ID))
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Assemble(h, content)
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == event.Message {
				out[e.Text] = true
			}
		}
	}
	return out
}

// TestKill kills the gateway at random moments under load: whatever a recipient saw must be in the journal (law 1).
func TestKill(t *testing.T) {
	kills := 20
	switch {
	case os.Getenv("CHAPERONE_SOAK") == "1":
		kills = 200
	case testing.Short():
		kills = 3
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills)*time.Minute)
	defer cancel()
	p, dir := startProsody(t, ctx), t.TempDir()
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "compliance.pub"), []byte(key.Public().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	var saw sync.Map
	arrived := func() (n int) {
		saw.Range(func(_, _ any) bool { n++; return true })
		return n
	}
	for n := 0; n < kills || arrived() < kills; n++ { // a slow machine brings little in the moments that it has
		round(t, ctx, n, time.Duration(20+rand.IntN(300)+100*max(0, n-kills))*time.Millisecond, dir, address, p.Address, &saw)
	}
	in, count := recorded(t, dir, key), 0
	saw.Range(func(text, _ any) bool {
		count++
		if !in[text.(string)] {
			t.Errorf("%q was delivered and is not in the journal", text)
		}
		if strings.Contains(text.(string), "4111") {
			t.Errorf("%q was delivered", text)
		}
		return true
	})
	t.Logf("%d kills, %d messages recorded, %d seen by recipients", kills, len(in), count)
	if count < kills {
		t.Errorf("only %d messages arrived in %d rounds: no load", count, kills)
	}
}

// round starts the gateway, talks through it, and kills it.
func round(t *testing.T, ctx context.Context, n int, life time.Duration, dir, address, upstream string, saw *sync.Map) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "CHAPERONE_TEST_LISTEN="+address, "CHAPERONE_TEST_UPSTREAM="+upstream)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the gateway does not start: %q %v", line, err)
	}
	login := func(user string) *xmpptest.Client {
		c, err := xmpptest.Dial(ctx, xmpptest.Login{Address: address, JID: user + "@" + domain + "/r", Password: passwords[user]})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	bob := login("bob")
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := bob.Next(ctx, isMessage)
			if err != nil {
				return
			}
			if m.Attr("type") != "error" {
				saw.Store(m.Body(), true)
			}
		}
	})
	senders := []*xmpptest.Client{login("alice"), login("carol"), login("dave")}
	for k, c := range senders {
		wg.Go(func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("round %d sender %d message %d", n, k, i)
				if i%7 == 3 {
					text += " 4111 1111 1111 1111"
				}
				select {
				case <-c.Done():
					return
				default:
				}
				if c.Say(ctx, "bob@example.org", text, text) != nil {
					return
				}
			}
		})
	}
	time.Sleep(life)
	cmd.Process.Kill()
	cmd.Wait()
	wg.Wait()
}
