package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// The small network of the demonstration: a namespace with one client, joined to this machine by a pair of virtual interfaces.
const (
	namespaceName   = "chaperone-demo"
	hostLink        = "chap-demo0"
	clientLink      = "chap-demo1"
	hostAddress     = "10.77.1.1"
	clientAddress   = "10.77.1.2"
	upstreamAddress = "127.0.0.1:15353"
	approvedSite    = "intranet.example.org"
)

// buildNamespace makes the namespace, an upstream resolver and an approved site. Without root it does nothing.
func (s *stage) buildNamespace() error {
	if !s.root {
		return nil
	}
	s.tearNamespace()
	resolv := filepath.Join("/etc/netns", namespaceName)
	if err := os.MkdirAll(resolv, 0o755); err != nil {
		return err
	}
	s.later(s.tearNamespace)
	if err := os.WriteFile(filepath.Join(resolv, "resolv.conf"), []byte("nameserver "+hostAddress+"\noptions timeout:2 attempts:1\n"), 0o644); err != nil {
		return err
	}
	for _, line := range []string{
		"netns add " + namespaceName,
		"link add " + hostLink + " type veth peer name " + clientLink,
		"link set " + clientLink + " netns " + namespaceName,
		"addr add " + hostAddress + "/24 dev " + hostLink,
		"link set " + hostLink + " up",
		"-n " + namespaceName + " addr add " + clientAddress + "/24 dev " + clientLink,
		"-n " + namespaceName + " link set " + clientLink + " up",
		"-n " + namespaceName + " link set lo up",
	} {
		if out, err := exec.CommandContext(s.ctx, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			s.say("No network namespace can be made here (ip %s: %s); its scene is left out.", line, strings.TrimSpace(string(out)))
			return nil
		}
	}
	s.namespaceUp = true
	return s.buildSite()
}

func (s *stage) tearNamespace() {
	exec.Command("ip", "netns", "del", namespaceName).Run()
	exec.Command("ip", "link", "del", hostLink).Run()
	os.RemoveAll(filepath.Join("/etc/netns", namespaceName))
}

// buildSite starts the resolver that answers allowed questions, and the approved site.
func (s *stage) buildSite() error {
	conn, err := net.ListenPacket("udp", upstreamAddress)
	if err != nil {
		return err
	}
	upstream := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(answer)}
	go upstream.ActivateAndServe()
	s.later(func() { upstream.Shutdown() })
	l, err := net.Listen("tcp", hostAddress+":80")
	if err != nil {
		return err
	}
	site := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "the firm's intranet")
	})}
	go site.Serve(l)
	s.later(func() { site.Close() })
	return nil
}

func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(hostAddress)}}
	}
	w.WriteMsg(m)
}

// inside runs a program in the namespace.
func (s *stage) inside(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	s.say("$ ip netns exec %s %s", namespaceName, strings.Join(args, " "))
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespaceName}, args...)...).CombinedOutput()
	return string(out), err
}

func (s *stage) namespace() error {
	if !s.namespaceUp {
		s.leaveOut("it needs root and network namespaces")
		return nil
	}
	out, err := s.inside("curl", "-sS", "--max-time", "30", "http://"+approvedSite+"/")
	if err != nil {
		return fmt.Errorf("the approved site did not open: %s: %w", out, err)
	}
	s.show(out)
	out, err = s.inside("curl", "-sS", "--max-time", "30", "https://web.whatsapp.com/")
	if err == nil {
		return errors.New("the messenger's site opened")
	}
	s.show(out)
	out, err = s.inside("dig", "+noall", "+comments", "web.whatsapp.com")
	if err != nil {
		return fmt.Errorf("dig: %s: %w", out, err)
	}
	s.show(out)
	if !strings.Contains(out, "EDE: 15") || !strings.Contains(out, "not approved") {
		return errors.New("the refusal carries no reason")
	}
	return s.onRecord("kind:dns", "web.whatsapp.com", "block")
}
