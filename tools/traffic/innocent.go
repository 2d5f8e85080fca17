package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// class is one kind of innocent traffic.
type class struct {
	name string
	by   string // the programs that speak
	run  func(w *wire, n func(int) string) error
}

// makeInnocent makes each class into a capture of its own in the folder, asks chaperone what is in it, and prints a table. Captures are
// removed again, unless they hold what was taken for a messenger.
func makeInnocent(ctx context.Context, dir, chaperone string, scale float64, names []string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var total tally
	fmt.Println("| class | programs | flows | named | at medium or above |\n|---|---|---|---|---|")
	for _, c := range classes() {
		if len(names) > 0 && !slices.Contains(names, c.name) {
			continue
		}
		file := filepath.Join(dir, c.name+".pcap")
		if err := makeClass(ctx, &c, file, scale); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name, err)
		}
		t, err := inspect(ctx, chaperone, file)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %d | %d | %d |\n", c.name, c.by, t.flows, t.named, t.strong)
		if t.named == 0 {
			_ = os.Remove(file)
		}
		total.flows, total.named, total.strong = total.flows+t.flows, total.named+t.named, total.strong+t.strong
	}
	fmt.Printf("| all | | %d | %d | %d |\n", total.flows, total.named, total.strong)
	return nil
}

func makeClass(ctx context.Context, c *class, file string, scale float64) (err error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	defer stop()
	w, err := newWire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			said, _ := os.ReadFile(w.path("log"))
			err = fmt.Errorf("%w\n%s", err, said[max(0, len(said)-1500):])
		}
		err = errors.Join(err, w.close())
	}()
	end, err := w.capture(file, "ip and (tcp or udp)", 0)
	if err != nil {
		return err
	}
	n := func(count int) string { return fmt.Sprint(max(1, int(float64(count)*scale))) }
	return errors.Join(c.run(w, n), end())
}

// tally counts flows, those that are named a messenger's, and those at medium or above.
type tally struct{ flows, named, strong int }

func inspect(ctx context.Context, chaperone, file string) (tally, error) {
	var t tally
	c := exec.CommandContext(ctx, chaperone, "inspect", "--json", file)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		return t, err
	}
	if err := c.Start(); err != nil {
		return t, err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f struct {
			Proto, Client, Server, App string
			Confidence                 float64
			Evidence                   []struct{ Fact, Value string }
		}
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil || f.Proto == "" {
			continue
		}
		t.flows++
		if f.App == "" {
			continue
		}
		t.named++
		if f.Confidence >= 0.8 {
			t.strong++
		}
		if t.named <= 5 {
			fmt.Fprintf(os.Stderr, "%s: %s %s to %s is taken for %s at %.2f by %v\n", filepath.Base(file), f.Proto, f.Client, f.Server, f.App, f.Confidence, f.Evidence)
		}
	}
	if err := c.Wait(); err != nil && c.ProcessState.ExitCode() != 1 { // 1 says that something was found
		return t, fmt.Errorf("chaperone inspect: %w: %s", err, said.Bytes())
	}
	return t, lines.Err()
}

func classes() []class {
	return slices.Concat(webClasses(), serviceClasses(), tunnelClasses())
}

// sh runs a line of shell on the client's side.
func (w *wire) sh(format string, args ...any) error {
	return w.do(4*time.Minute, w.client, "bash", "-c", fmt.Sprintf(format, args...))
}

func webClasses() []class {
	page := func(w *wire) error { return errors.Join(w.names(), w.web("shop.example", "*.example", "*.test")) }
	return []class{
		{"http", "ab, nginx", func(w *wire, n func(int) string) error {
			return errors.Join(page(w), w.sh("ab -q -n %s -c 40 http://%s/a/page", n(25000), serverAddr))
		}},
		{"https", "ab, openssl s_time, h2load, nginx", func(w *wire, n func(int) string) error {
			return errors.Join(page(w), w.sh("ab -q -n %s -c 40 https://%s/", n(9000), serverAddr),
				w.sh("timeout $((%[1]s+5)) openssl s_time -connect %[2]s:443 -new -time %[1]s -www / >/dev/null", n(15), serverAddr),
				w.sh("ulimit -n 9000; h2load -n %s -c %s https://shop.example/", n(2500), n(2500)))
		}},
		{"browsing", "curl, dnsmasq, nginx", func(w *wire, n func(int) string) error {
			return errors.Join(page(w), w.sh("ulimit -n 4000; curl -s -k -o /dev/null --http2 -Z --parallel-max 40 'https://shop[1-%s].example/' && curl -s -k -o /dev/null --http1.1 -Z --parallel-max 40 'https://cdn[1-%s].test/x?to=web.whatsapp.com' -e https://web.telegram.org/", n(2500), n(1500)))
		}},
		{"browser", "chromium, dnsmasq, nginx", func(w *wire, n func(int) string) error {
			return errors.Join(page(w), w.sh(`for i in $(seq %s); do timeout 25 chromium --headless=new --no-sandbox --disable-gpu --ignore-certificate-errors --user-data-dir=$HOME/c$i --timeout=4000 --dump-dom https://news$i.example/ >/dev/null 2>&1; done; true`, n(6)))
		}},
		{"dns", "dnsperf, dig, dnsmasq", func(w *wire, n func(int) string) error {
			questions, err := w.write("questions", manyQuestions())
			if err != nil {
				return err
			}
			return errors.Join(w.names(), w.rest(time.Second), w.sh("ulimit -n 9000; for i in $(seq %s); do dnsperf -s %s -d %s -c 250 -n 1 -Q 5000 -t 2; done; dnsperf -m tcp -s %s -d %s -c 100 -n 1 -Q 1000; for i in $(seq %s); do dig +short +tries=1 +time=1 txt host$i.test; done >/dev/null",
				n(50), nameServer, questions, nameServer, questions, n(150)))
		}},
		{"quic", "quic-go", func(w *wire, n func(int) string) error {
			return errors.Join(w.certificate("shop.example"), w.start(w.server, w.self, "speak", "quic-server", w.path("cert.pem"), w.path("key.pem")), w.rest(time.Second),
				w.do(4*time.Minute, w.client, w.self, "speak", "quic-client", n(3000)))
		}},
		{"tls of many shapes", "crypto/tls, nginx and stunnel4", func(w *wire, n func(int) string) error {
			conf := "foreground = yes\npid =\ncert = " + w.path("cert.pem") + "\nkey = " + w.path("key.pem") + "\n"
			for _, port := range []string{"8443", "993", "5223", "853", "636", "4443"} {
				conf += "[p" + port + "]\naccept = " + serverAddr + ":" + port + "\nconnect = " + serverAddr + ":80\n"
			}
			path, err := w.write("stunnel.conf", conf)
			if err != nil {
				return err
			}
			return errors.Join(page(w), w.start(w.server, "stunnel4", path), w.await(853), w.do(4*time.Minute, w.client, w.self, "speak", "tls-client", n(6000)))
		}},
		{"webrtc", "pion/webrtc, pion/turn", func(w *wire, n func(int) string) error {
			return errors.Join(w.start(w.server, w.self, "speak", "webrtc-server"), w.await(8080), w.do(3*time.Minute, w.client, w.self, "speak", "webrtc-client", n(40)))
		}},
	}
}

// manyQuestions are names of nobody's, some of which hold a messenger's.
func manyQuestions() string {
	var b bytes.Buffer
	for i := range 2500 {
		name := odd(i)
		switch i % 10 {
		case 7:
			name = []string{"whatsapp", "telegram", "discord", "signal", "slack", "zoom"}[i/10%6] + fmt.Sprint(i) + ".example"
		case 8:
			name = "web.whatsapp.com." + name
		}
		fmt.Fprintf(&b, "%s %s\n", name, []string{"A", "AAAA", "HTTPS", "MX", "TXT", "SRV", "PTR", "NS"}[i%8])
	}
	return b.String()
}
