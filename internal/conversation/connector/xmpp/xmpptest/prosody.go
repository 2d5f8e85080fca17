// Package xmpptest starts a real Prosody with a configuration of its own, and has two real clients: one on an XMPP library, and one that
// sends and shows raw bytes. Tests, benchmarks and the demonstration use it; nothing of it runs in a gateway.
package xmpptest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/chaperone-im/chaperone/internal/loopback"
)

// ErrMissing says that Prosody is not installed.
var ErrMissing = errors.New("prosody is not installed (apt-get install prosody)")

// Prosody is a running server. Its domain has rooms at rooms.DOMAIN and uploads at upload.DOMAIN.
type Prosody struct {
	Domain      string
	Address     string // of its client port, plain or STARTTLS
	HTTP        string // base URL of its HTTP port
	Certificate string // PEM file, for the domain, self-signed: also its own authority
	Key         string

	dir    string
	config string
	cmd    *exec.Cmd
	output bytes.Buffer
	exited chan struct{}
}

const configuration = `
pidfile = "{{.Dir}}/prosody.pid"
data_path = "{{.Dir}}/data"
certificates = "{{.Dir}}"
run_as_root = true
daemonize = false
log = { { levels = { min = "info" }, to = "file", filename = "{{.Dir}}/prosody.log" } }
modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "presence"; "message"; "iq"; "carbons"; "mam"; "smacks"; "offline"; "ping"; "pep"; "http"{{if .Federated}}; "s2s"; "dialback"{{end}} }
{{if not .Federated}}modules_disabled = { "s2s" }
{{end}}authentication = "internal_plain"
storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
c2s_ports = { {{.Client}} }
c2s_interfaces = { "127.0.0.1" }
{{if .Federated}}s2s_ports = { 5269 }
s2s_interfaces = { "{{.Domain}}" }
s2s_require_encryption = false
s2s_secure_auth = false
{{else}}s2s_ports = {}
{{end}}http_ports = { {{.HTTPPort}} }
http_interfaces = { "127.0.0.1" }
https_ports = {}
http_default_host = "upload.{{.Domain}}"
smacks_hibernation_time = 60
ssl = { certificate = "{{.Certificate}}"; key = "{{.Key}}" }
VirtualHost "{{.Domain}}"
Component "rooms.{{.Domain}}" "muc"
	modules_enabled = { "muc_mam" }
	restrict_room_creation = false
	muc_room_locking = false
	muc_room_default_public_jids = true
Component "upload.{{.Domain}}" "http_file_share"
	http_file_share_size_limit = 16777216
	http_file_share_access = { "{{.Domain}}" }
`

// StartProsody writes configuration, certificate and accounts (name → password) into dir, starts Prosody and waits until it takes clients.
// It runs until Stop or Kill. A domain that is an address of loopback is federated with others of that kind (RFC 7622, section 3.2, lets a
// domain be an address), at the port 5269 of that address, by dialback; other domains are alone.
func StartProsody(ctx context.Context, dir, domain string, accounts map[string]string) (*Prosody, error) {
	if _, err := exec.LookPath("prosody"); err != nil {
		return nil, ErrMissing
	}
	p := &Prosody{Domain: domain, dir: dir, config: filepath.Join(dir, "prosody.cfg.lua")}
	p.Certificate, p.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := SelfSigned(p.Certificate, p.Key, domain, "localhost"); err != nil {
		return nil, err
	}
	client, err1 := loopback.Address()
	web, err2 := loopback.Address()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.Address, p.HTTP = client, "http://"+web
	var b bytes.Buffer
	t := template.Must(template.New("").Parse(configuration))
	if err := t.Execute(&b, map[string]any{"Dir": dir, "Domain": domain, "Client": port(client), "HTTPPort": port(web), "Certificate": p.Certificate, "Key": p.Key, "Federated": net.ParseIP(domain) != nil}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.config, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	if err := writeAccounts(filepath.Join(dir, "data"), domain, accounts); err != nil {
		return nil, err
	}
	return p, p.Start(ctx)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// writeAccounts writes Prosody's own account files: its control program takes longer for one than this for all.
func writeAccounts(data, domain string, accounts map[string]string) error {
	dir := filepath.Join(data, strings.ReplaceAll(strings.ReplaceAll(domain, ".", "%2e"), "-", "%2d"), "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, password := range accounts {
		text := fmt.Sprintf("return {\n\t[\"password\"] = %q;\n};\n", password)
		if err := os.WriteFile(filepath.Join(dir, name+".dat"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Start starts it again after Stop or Kill, at the same addresses and with the same data.
func (p *Prosody) Start(ctx context.Context) error {
	p.cmd = exec.Command("prosody", "--config", p.config, "-F")
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start prosody: %w", err)
	}
	p.exited = make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", p.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("prosody ended: %s", p.output.String())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("prosody does not listen: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends it in order.
func (p *Prosody) Stop() { p.end(syscall.SIGTERM) }

// Kill ends it as a power cut would.
func (p *Prosody) Kill() { p.end(syscall.SIGKILL) }

func (p *Prosody) end(sig syscall.Signal) {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(2 * time.Minute):
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// PID returns its process id.
func (p *Prosody) PID() int { return p.cmd.Process.Pid }

// Log returns what it logged.
func (p *Prosody) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "prosody.log"))
	return string(b)
}

// TLS returns a client configuration that trusts its certificate.
func (p *Prosody) TLS() *tls.Config {
	pool := x509.NewCertPool()
	b, _ := os.ReadFile(p.Certificate)
	pool.AppendCertsFromPEM(b)
	return &tls.Config{RootCAs: pool, ServerName: p.Domain}
}

// SelfSigned writes a certificate for names, and 127.0.0.1, that is its own authority.
func SelfSigned(certFile, keyFile string, names ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)
}
