package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// address is one that the configuration wants to listen on.
type address struct{ what, network, at string }

func (x *exam) addresses() []address {
	var out []address
	add := func(what, network, at string) {
		if at != "" {
			out = append(out, address{what, network, at})
		}
	}
	for _, g := range x.c.Gateways {
		for _, l := range g.Listen {
			add("gateway "+g.ID, "tcp", l.Address)
		}
		if g.Uploads != nil {
			add("uploads of "+g.ID, "tcp", g.Uploads.Listen)
		}
	}
	add("console", "tcp", x.c.Console.Listen)
	add("metrics", "tcp", x.c.Metrics.Listen)
	if r := x.c.Network.Resolver; r != nil {
		for _, l := range r.Listen {
			add("resolver", "tcp", l)
			add("resolver", "udp", l)
		}
	}
	return out
}

func ports(_ context.Context, x *exam) {
	ours, _ := running(x.c.Data())
	for _, a := range x.addresses() {
		var l io.Closer
		var err error
		if a.network == "udp" {
			l, err = net.ListenPacket(a.network, a.at)
		} else {
			l, err = net.Listen(a.network, a.at)
		}
		switch {
		case err == nil:
			l.Close()
			if ours {
				x.add(Warn, fmt.Sprintf("%s: nobody listens on %s %s, though serve runs", a.what, a.network, a.at), "clients do not reach it", "restart serve, if the configuration is newer than it")
			} else {
				x.ok("%s: %s %s is free", a.what, a.network, a.at)
			}
		case errors.Is(err, syscall.EADDRINUSE) && ours:
			x.ok("%s: %s %s is taken while serve runs", a.what, a.network, a.at)
		case errors.Is(err, syscall.EADDRINUSE):
			x.add(Fail, fmt.Sprintf("%s: another process has %s %s", a.what, a.network, a.at), "serve does not start", "ss -lntup shows which; end it or change the address")
		case errors.Is(err, syscall.EACCES):
			x.add(Fail, fmt.Sprintf("%s: %s %s may not be used by this user", a.what, a.network, a.at), "serve does not start", "AmbientCapabilities=CAP_NET_BIND_SERVICE, or a port above 1023")
		default:
			x.add(Fail, fmt.Sprintf("%s: %v", a.what, err), "serve does not start", "correct the address")
		}
	}
}

// renewIn is how long before its end a certificate should be renewed.
const renewIn = 21 * 24 * time.Hour

func certificates(_ context.Context, x *exam) {
	look := func(what, cert, key string) {
		if cert == "" {
			return
		}
		pair, err := outside.KeyPair(x.c.Path(cert), x.c.Path(key))
		if err != nil {
			x.add(Fail, what+": "+err.Error(), "nobody can connect", "correct certificate and key")
			return
		}
		end, now := pair.Leaf.NotAfter, x.o.Now()
		said := fmt.Sprintf("%s: the certificate ends %s", what, end.UTC().Format(time.RFC3339))
		switch {
		case now.After(end) || now.Before(pair.Leaf.NotBefore):
			x.add(Fail, said+" and is not valid now", "clients refuse to connect", "renew it")
		case end.Sub(now) < renewIn:
			x.add(Warn, said, "clients refuse to connect after that", "renew it")
		default:
			x.ok("%s", said)
		}
	}
	for _, g := range x.c.Gateways {
		for _, l := range g.Listen {
			look("gateway "+g.ID+" "+l.Address, l.Certificate, l.Key)
		}
		if u := g.Uploads; u != nil {
			look("uploads of "+g.ID, u.Certificate, u.Key)
		}
	}
	look("console", x.c.Console.Certificate, x.c.Console.Key)
}

func gateways(ctx context.Context, x *exam) {
	for _, g := range x.c.Gateways {
		p, err := xmpp.Probe(ctx, xmpp.FromConfig(g, x.c.Path))
		if err != nil {
			x.add(Fail, fmt.Sprintf("gateway %s: %v", g.ID, err), "nobody can sign in", "start the server behind, and correct upstream: address, tls and ca (its certificate must be valid for "+g.Domain+")")
			continue
		}
		x.ok("gateway %s: the server at %s answers for %s and offers %s", g.ID, g.Upstream.Address, g.Domain, strings.Join(p.Mechanisms, ", "))
		if len(p.Mechanisms) == 0 {
			x.add(Warn, "gateway "+g.ID+": the server offers no way to sign in", "nobody can sign in", "see its authentication settings")
		}
		if p.ChannelBinding {
			x.add(Warn, "gateway "+g.ID+": the server offers channel binding (-PLUS)", "the gateway ends TLS, so the offer is taken out; clients that insist on it cannot sign in, and clients that know it see its absence",
				"turn channel binding off at the server behind")
		}
		if p.Compression {
			x.ok("gateway %s: the server offers compression, which is taken out", g.ID)
		}
	}
}

// staleAfter is how old malware signatures may be.
const staleAfter = 7 * 24 * time.Hour

func clamd(ctx context.Context, x *exam) {
	m := x.c.Inspectors.Malware
	if m == nil {
		return
	}
	const why = "files are then not inspected, and the policy decides about them (otherwise.not_inspected)"
	version, err := clamdVersion(ctx, m.Clamd)
	if err != nil {
		x.add(Fail, "clamd does not answer: "+err.Error(), why, "start clamd, and let this user use its socket")
		return
	}
	parts := strings.SplitN(version, "/", 3)
	if len(parts) < 3 {
		x.add(Warn, "clamd answers and does not say the age of its signatures: "+version, "old signatures find little", "run freshclam")
		return
	}
	made, err := time.Parse("Mon Jan _2 15:04:05 2006", strings.TrimSpace(parts[2]))
	if err != nil || x.o.Now().Sub(made) > staleAfter {
		x.add(Warn, "the signatures of clamd are of "+parts[2], "old signatures find little", "run freshclam")
		return
	}
	x.ok("clamd answers: %s", version)
}

// clamdVersion asks for VERSION (clamd(8)).
func clamdVersion(ctx context.Context, where string) (string, error) {
	network, at, _ := strings.Cut(where, ":")
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "zVERSION\x00"); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(conn, 1024))
	return string(bytes.TrimRight(raw, "\x00\n")), err
}

func resolver(ctx context.Context, x *exam) {
	r := x.c.Network.Resolver
	if r == nil {
		return
	}
	answered := 0
	for _, upstream := range r.Upstream {
		q := new(dns.Msg).SetQuestion(".", dns.TypeNS)
		client := dns.Client{Timeout: 3 * time.Second}
		if _, _, err := client.ExchangeContext(ctx, q, upstream); err != nil {
			x.add(Warn, fmt.Sprintf("the resolver %s does not answer: %v", upstream, err), "questions wait for it before the next is asked", "take it out of network.resolver.upstream, or let this machine reach it")
			continue
		}
		answered++
		x.ok("the resolver %s answers", upstream)
	}
	if answered == 0 {
		x.add(Fail, "no upstream resolver answers", "allowed names cannot be resolved", "correct network.resolver.upstream")
	}
}

func network(_ context.Context, x *exam) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	needed := len(x.c.Network.Sensors) > 0
	switch {
	case err == nil:
		x.ok("packets can be captured (CAP_NET_RAW)")
	case needed:
		x.add(Fail, "packets cannot be captured: "+err.Error(), "sensors see nothing", "AmbientCapabilities=CAP_NET_RAW")
	default:
		x.ok("packets cannot be captured by this user, and no sensor is configured")
	}
	for _, s := range x.c.Network.Sensors {
		i, err := net.InterfaceByName(s.Interface)
		switch {
		case err != nil:
			x.add(Fail, "sensor: there is no interface "+s.Interface, "it sees nothing", "correct network.sensors; ip link lists them")
		case i.Flags&net.FlagUp == 0:
			x.add(Fail, "sensor: the interface "+s.Interface+" is down", "it sees nothing", "ip link set "+s.Interface+" up")
		default:
			x.ok("sensor: %s is up", s.Interface)
		}
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		x.ok("nftables is there: %s", filepath.Clean(nft))
	} else {
		x.ok("nftables is not installed; this configuration does not need it")
	}
}

func confinement(ctx context.Context, x *exam) {
	if x.o.Sandbox == nil {
		return
	}
	missing, err := x.o.Sandbox(ctx)
	const why = "parsers of foreign files are confined by it; without it a hostile file meets fewer walls"
	switch {
	case err != nil:
		x.add(Fail, "the sandbox does not start: "+err.Error(), "scan cannot look into files", "see the log; some containers forbid what it needs")
	case missing != "":
		x.add(Warn, missing, why, "a kernel from 5.13 with Landlock and seccomp, and start as root or with user namespaces")
	default:
		x.ok("parsers are confined: another user, no files, no network, few system calls, limits")
	}
}
