package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// scenario is one sample: who speaks, and what must be recognised in it.
type scenario struct {
	app, file string
	spoken    []string // packages of Debian, modules of Go in this program, or what is fetched
	flows     string   // YAML of what must be recognised; "" when the folder says it
	filter    string   // of tcpdump; default everything
	run       func(w *wire) error
}

// Bounds of one sample.
const (
	flowPackets = 24
	sampleSize  = 58 << 10
)

func makeSamples(ctx context.Context, out string, names []string) error {
	var errs []error
	for _, s := range scenarios() {
		name := s.app + "/" + s.file
		if len(names) > 0 && !slices.Contains(names, name) && !slices.Contains(names, s.app) {
			continue
		}
		if err := makeSample(ctx, out, &s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			fmt.Fprintln(os.Stderr, name, "failed:", err)
		}
	}
	return errors.Join(errs...)
}

func makeSample(ctx context.Context, out string, s *scenario) (err error) {
	made, err := versions(s.spoken)
	if err != nil {
		return err
	}
	programs, err := os.MkdirTemp("", "traffic-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(programs)
	if err := fetch(ctx, programs, s.spoken); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	w, err := newWire(ctx)
	if err != nil {
		return err
	}
	w.programs = programs
	defer func() {
		if err != nil {
			said, _ := os.ReadFile(w.path("log"))
			err = fmt.Errorf("%w\n%s", err, said[max(0, len(said)-3000):])
		}
		err = errors.Join(err, w.close())
	}()
	filter := s.filter
	if filter == "" {
		filter = "ip and (tcp or udp)"
	}
	end, err := w.capture(w.path("all.pcap"), filter, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(s.run(w), end()); err != nil {
		return err
	}
	dir := filepath.Join(out, s.app)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n, err := trim(w.path("all.pcap"), filepath.Join(dir, s.file), flowPackets, sampleSize)
	if err != nil {
		return err
	}
	fmt.Printf("%s/%s: %d flows of %s\n", s.app, s.file, n, made)
	return label(filepath.Join(dir, "labels.yaml"), s, made, time.Now())
}

// label writes the capture's line into the labels, in place of an older one.
func label(path string, s *scenario, made string, now time.Time) error {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	line := fmt.Sprintf("  - {file: %s, made: \"on a wire of two namespaces by %s, %s\"", s.file, made, now.Format("2006-01"))
	if s.flows != "" {
		line += ", " + s.flows
	}
	line += "}\n"
	text := string(b)
	old := regexp.MustCompile(`(?m)^  - \{file: ` + regexp.QuoteMeta(s.file) + `,.*\n`)
	switch {
	case old.MatchString(text):
		text = old.ReplaceAllLiteralString(text, line)
	case strings.HasPrefix(text, "captures:\n"):
		text = strings.Replace(text, "captures:\n", "captures:\n"+line, 1)
	default:
		text = "captures:\n" + line + text
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// versions names the programs with the versions that are here.
func versions(spoken []string) (string, error) {
	var out []string
	info, _ := debug.ReadBuildInfo()
	for _, name := range spoken {
		if known, ok := fetched(name); ok {
			out = append(out, known)
			continue
		}
		if strings.Contains(name, "/") {
			i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == name })
			if i < 0 {
				return "", fmt.Errorf("%s is not in this program", name)
			}
			out = append(out, name+" "+info.Deps[i].Version)
			continue
		}
		v, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
		if err != nil {
			return "", fmt.Errorf("package %s is not installed", name)
		}
		out = append(out, name+" "+string(v))
	}
	return strings.Join(out, ", "), nil
}

func scenarios() []scenario {
	out := []scenario{
		{app: "xmpp", file: "prosody.pcap", spoken: []string{"prosody", "go-sendxmpp"}, run: xmpp,
			flows: `flows: [{fact: "traffic:xmpp-stream", server: "203.0.113.10:5222"}, {fact: "traffic:xmpp-stream", server: "198.51.100.7:5269"}]`},
		{app: "irc", file: "ngircd.pcap", spoken: []string{"ngircd", "weechat-headless"}, run: irc, flows: `flows: [{server: "203.0.113.10:6667"}]`},
		{app: "sip", file: "sipp.pcap", spoken: []string{"sip-tester"}, run: sipp, flows: `flows: [{server: "203.0.113.10:5060"}]`},
		{app: "sip", file: "baresip.pcap", spoken: []string{"baresip-core"}, run: baresip, flows: `flows: [{server: "203.0.113.10:5060"}]`},
		{app: "tox", file: "toxcore.pcap", spoken: []string{"libtoxcore2"}, run: tox, flows: `flows: [{server: "203.0.113.10:33445"}]`},
		{app: "jami", file: "jamid.pcap", spoken: []string{"jami-daemon", "dhtnode"}, run: jami, flows: `flows: [{server: "203.0.113.10:4222"}]`},
		{app: "telegram", file: "gotd.pcap", spoken: []string{"github.com/gotd/td"}, run: telegramTransports,
			flows: `flows: [{fact: "traffic:mtproto-obfuscated", server: "203.0.113.10:443", count: 3}, {server: "203.0.113.10:8888"}]`},
		{app: "discord", file: "discordgo.pcap", spoken: []string{"github.com/bwmarrin/discordgo"}, run: discord,
			flows: `flows: [{server: "203.0.113.10:50004", service: call}]`},
		{app: "matrix", file: "dendrite.pcap", spoken: []string{"go:github.com/matrix-org/dendrite/cmd/dendrite@v0.13.8", "go:github.com/matrix-org/dendrite/cmd/generate-keys@v0.13.8", "python3-matrix-nio"},
			run: matrix, flows: `flows: [{fact: "traffic:matrix-client-server", server: "203.0.113.10:8008"}, {fact: "traffic:matrix-federation", server: "203.0.113.10:8448"}, {fact: "traffic:matrix-srv", server: "203.0.113.53:53"}]`},
		{app: "delta_chat", file: "core.pcap", spoken: []string{"npm:@deltachat/stdio-rpc-server-linux-x64@2.62.0"}, run: deltaChat,
			flows: `flows: [{fact: "traffic:chatmail-imap", server: "203.0.113.10:443"}, {fact: "traffic:chatmail-smtp", server: "203.0.113.10:443"}]`},
		{app: "mumble", file: "murmur.pcap", spoken: []string{"mumble-server", "npm:@tf2pickup-org/mumble-client@0.13.0", "npm:gamedig@5.3.3"}, run: mumble,
			flows: `flows: [{fact: "traffic:mumble-ping", server: "203.0.113.10:64738"}, {fact: "traffic:mumble-tls", server: "203.0.113.10:64738"}]`},
		{app: "none", file: "pion.pcap", spoken: []string{"github.com/pion/webrtc/v4", "github.com/pion/turn/v4"}, run: calls},
	}
	for _, b := range []struct{ app, url string }{
		{"whatsapp", "https://web.whatsapp.com/"}, {"telegram", "https://web.telegram.org/k/"}, {"discord", "https://discord.com/app"},
		{"slack", "https://app.slack.com/client"}, {"teams", "https://teams.microsoft.com/v2/"}, {"zoom", "https://app.zoom.us/wc"},
		{"element", "https://app.element.io/"}, {"threema", "https://web.threema.ch/"}, {"wire", "https://app.wire.com/"},
		{"webex", "https://web.webex.com/"}, {"facebook_messenger", "https://www.messenger.com/"},
	} {
		out = append(out, scenario{app: b.app, file: "chromium.pcap", spoken: []string{"chromium"}, flows: `flows: [{server: "203.0.113.10:443"}]`,
			run: func(w *wire) error { return browse(w, b.url) }})
	}
	return out
}

func xmpp(w *wire) error {
	names := []string{"talk.example", "other.example"}
	if err := w.certificate(names...); err != nil {
		return err
	}
	for i, side := range []string{w.server, w.client} {
		addr, port := []string{serverAddr, clientAddr}[i], "5223"
		conf, err := w.write(names[i]+".lua", `run_as_root = true
daemonize = false
pidfile = "`+w.path(names[i]+".pid")+`"
data_path = "`+w.path(names[i])+`"
plugin_paths = {}
modules_enabled = {"roster", "saslauth", "tls", "dialback", "disco", "offline"}
interfaces = {"`+addr+`"}
c2s_direct_tls_ports = {`+port+`}
authentication = "internal_plain"
s2s_secure_auth = false
ssl = {key = "`+w.path("key.pem")+`", certificate = "`+w.path("cert.pem")+`"}
c2s_direct_tls_ssl = ssl
log = {info = "*console"}
VirtualHost "`+names[i]+`"
`)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(w.path(names[i]), 0o777); err != nil {
			return err
		}
		if err := w.do(10*time.Second, side, "prosodyctl", "--root", "--config", conf, "register", []string{"alice", "bob"}[i], names[i], "secret"); err != nil {
			return err
		}
		if err := w.start(side, "prosody", "--root", "--config", conf, "-F"); err != nil {
			return err
		}
	}
	if err := w.start(w.server, "dnsmasq", "-k", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--listen-address="+nameServer, "--bind-interfaces",
		"--address=/talk.example/"+serverAddr, "--address=/other.example/"+clientAddr); err != nil {
		return err
	}
	if err := w.await(5222); err != nil {
		return err
	}
	message, err := w.write("message", "lunch at noon?\n")
	if err != nil {
		return err
	}
	send := func(port string, more ...string) error {
		args := append([]string{"go-sendxmpp", "-n", "-u", "alice@talk.example", "-p", "secret", "-j", serverAddr + ":" + port, "-m", message}, more...)
		return w.do(15*time.Second, w.client, args...)
	}
	return errors.Join(send("5222", "bob@other.example"), send("5223", "-t", "bob@other.example"), w.rest(3*time.Second))
}

func irc(w *wire) error {
	conf, err := w.write("ngircd.conf", "[Global]\nName=irc.example\nInfo=rooms\nListen="+serverAddr+"\nPorts=6667\nMotdPhrase=hello\nServerUID=root\nServerGID=root\n[Options]\nDNS=no\nIdent=no\nPAM=no\n")
	if err != nil {
		return err
	}
	if err := w.start(w.server, "ngircd", "-n", "-f", conf); err != nil {
		return err
	}
	if err := w.await(6667); err != nil {
		return err
	}
	return w.do(25*time.Second, w.client, "weechat-headless", "-r",
		"/server add net "+serverAddr+"/6667 -nicks=alice -username=alice -realname=Alice; /connect net; /wait 3 /join #room; /wait 5 /msg -server net #room lunch at noon?; /wait 7 /disconnect net; /wait 8 /quit")
}

func sipp(w *wire) error {
	if err := w.start(w.server, "sipp", "-sn", "uas", "-i", serverAddr, "-nostdin"); err != nil {
		return err
	}
	return errors.Join(w.rest(time.Second), w.do(20*time.Second, w.client, "sipp", "-sn", "uac", serverAddr, "-i", clientAddr, "-m", "2", "-r", "1", "-d", "1000", "-nostdin"))
}

func baresip(w *wire) error {
	for i, side := range []string{w.server, w.client} {
		addr, user := []string{serverAddr, clientAddr}[i], []string{"bob", "alice"}[i]
		home := filepath.Join(w.dir, side, ".baresip")
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		files := map[string]string{
			"config": "module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule ausine.so\nmodule aubridge.so\nmodule_tmp account.so\nmodule_app menu.so\n" +
				"sip_listen " + addr + ":5060\naudio_source ausine,440\naudio_player aubridge,x\naudio_alert aubridge,x\nrtp_ports 16384-16484\nnet_interface v0\n",
			"accounts": "<sip:" + user + "@" + addr + ">;regint=0;answermode=auto\n", "contacts": "",
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	if err := w.start(w.server, "baresip", "-f", filepath.Join(w.dir, w.server, ".baresip"), "-t", "14"); err != nil {
		return err
	}
	return errors.Join(w.rest(2*time.Second), w.do(15*time.Second, w.client, "baresip", "-f", filepath.Join(w.dir, w.client, ".baresip"), "-t", "6", "-e", "/dial sip:bob@"+serverAddr))
}

func telegramTransports(w *wire) error {
	if err := w.start(w.server, w.self, "speak", "telegram-server", w.path("public.pem")); err != nil {
		return err
	}
	if err := w.rest(4 * time.Second); err != nil { // a connection that says nothing would end the server
		return err
	}
	var errs []error
	for _, transport := range []string{"abridged", "intermediate", "padded", "full"} {
		errs = append(errs, w.do(25*time.Second, w.client, w.self, "speak", "telegram-client", w.path("public.pem"), transport))
	}
	return errors.Join(errs...)
}

func discord(w *wire) error {
	if err := errors.Join(w.certificate("discord.com", "gateway.discord.gg", "*.discord.media"), w.names(),
		w.start(w.server, w.self, "speak", "discord-server", w.path("cert.pem"), w.path("key.pem")), w.await(443)); err != nil {
		return err
	}
	return w.do(20*time.Second, w.client, w.self, "speak", "discord-client")
}

func calls(w *wire) error {
	if err := errors.Join(w.start(w.server, w.self, "speak", "webrtc-server"), w.await(8080)); err != nil {
		return err
	}
	return w.do(40*time.Second, w.client, w.self, "speak", "webrtc-client", "2")
}

// web serves a page for every name over TLS.
func (w *wire) web(names ...string) error {
	conf, err := w.write("nginx.conf", "daemon off;\nuser root;\npid "+w.path("nginx.pid")+";\nerror_log stderr;\nworker_processes 2;\nevents { worker_connections 8000; }\nhttp { access_log off; server_names_hash_bucket_size 256;\n"+
		"server { listen "+serverAddr+":80 backlog=4096; location / { return 200 '<html><title>page</title><p>page</p></html>'; default_type text/html; } }\n"+
		"server { listen "+serverAddr+":443 ssl http2 backlog=4096; ssl_certificate "+w.path("cert.pem")+"; ssl_certificate_key "+w.path("key.pem")+
		"; location / { return 200 '<html><title>page</title><p>page</p></html>'; default_type text/html; } }\n}\n")
	if err != nil {
		return err
	}
	if err := w.certificate(names...); err != nil {
		return err
	}
	return errors.Join(w.start(w.server, "nginx", "-c", conf, "-e", "stderr"), w.await(443))
}

func browse(w *wire, url string) error {
	host := strings.Split(url, "/")[2]
	if err := errors.Join(w.names(), w.web(host)); err != nil {
		return err
	}
	_ = w.do(40*time.Second, w.client, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--no-first-run", "--disable-default-apps", "--disable-extensions", "--disable-features=OptimizationHints,MediaRouter",
		"--user-data-dir="+w.path("chromium"), "--timeout=6000", "--dump-dom", url) // it may wait for what never comes
	return nil
}
