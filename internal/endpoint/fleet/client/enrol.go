package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// ErrDenied says that an administrator, or the server, refused this machine.
var ErrDenied = errors.New("the fleet refused this machine")

// Machine is what an agent says of its machine.
type Machine struct {
	Name      string
	Addresses []string
	Version   string // of the agent
	Mode      string
}

// ThisMachine describes the machine that the program runs on.
func ThisMachine(version, mode string) (Machine, error) {
	name, err := os.Hostname()
	if err != nil {
		return Machine{}, fmt.Errorf("name of this machine: %w", err)
	}
	m := Machine{Name: name, Version: version, Mode: mode}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return m, nil // a machine without addresses can still be named
	}
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() && len(m.Addresses) < 16 {
			m.Addresses = append(m.Addresses, n.IP.String())
		}
	}
	return m, nil
}

// EnrolOptions are what Enrol works with.
type EnrolOptions struct {
	Dir     string // state folder of the agent
	Server  string // host:port
	Code    protocol.Code
	Machine Machine
	Every   time.Duration      // between two questions whether it is approved; default 10s
	Waiting func(print string) // told once that it is pending, with the fingerprint to compare
	Now     func() time.Time   // default time.Now
}

// Enrol asks a server for a certificate and waits until an administrator has approved this machine or refused it, or the context ends. It
// may be called again after that: the machine's key stays, and asks for what became of it.
func Enrol(ctx context.Context, o EnrolOptions) error {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := loadOrCreateKey(o.Dir)
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	told, wait := false, time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return fmt.Errorf("enrol: not approved yet: %w", ctx.Err())
		}
		answer, ca, err := ask(ctx, o, key)
		switch {
		case err != nil && !told:
			return fmt.Errorf("enrol: %w", err)
		case err != nil: // the server will be back
		case answer.State == protocol.Denied:
			return fmt.Errorf("enrol: %w: %s", ErrDenied, answer.Reason)
		case answer.State == protocol.Approved:
			return accept(o, key, ca, answer)
		case !told && o.Waiting != nil:
			o.Waiting(answer.Fingerprint)
		}
		told = told || err == nil
		wait.Reset(o.Every)
	}
}

// askTime bounds one question.
const askTime = 30 * time.Second

// ask asks once. It returns the authority that the code pinned.
func ask(ctx context.Context, o EnrolOptions, key *ecdsa.PrivateKey) (protocol.Enrolled, *x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var none protocol.Enrolled
	request, err := protocol.NewRequest(key)
	if err != nil {
		return none, nil, err
	}
	var ca *x509.Certificate
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, ServerName: protocol.ServerName, NextProtos: []string{protocol.Enrolling},
		InsecureSkipVerify: true, // the chain is checked against the authority that the code pins
		VerifyConnection: func(s tls.ConnectionState) (err error) {
			ca, err = pinned(s.PeerCertificates, o.Code.Pin, o.Now())
			return err
		}}}
	conn, err := d.DialContext(ctx, "tcp", o.Server)
	if err != nil {
		return none, nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return none, nil, err
	}
	err = protocol.Send(conn, protocol.EnrolFrame, protocol.Enrol{Protocol: protocol.Version, Code: o.Code.Name(), Secret: o.Code.Secret[:], Request: request,
		Name: o.Machine.Name, Addresses: o.Machine.Addresses, OS: runtime.GOOS, Arch: runtime.GOARCH, Version: o.Machine.Version})
	if err != nil {
		return none, nil, err
	}
	kind, payload, err := protocol.Read(conn)
	if err != nil {
		return none, nil, err
	}
	if kind != protocol.EnrolledFrame {
		return none, nil, fmt.Errorf("%w: the answer is of kind %q", protocol.ErrMalformed, byte(kind))
	}
	answer, err := protocol.Decode[protocol.Enrolled](payload)
	return answer, ca, err
}

// pinned finds the authority that the code pins in a chain, and checks the server's certificate against it.
func pinned(chain []*x509.Certificate, pin [16]byte, now time.Time) (*x509.Certificate, error) {
	for _, c := range chain {
		if protocol.PinOf(c) != pin || !c.IsCA {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: protocol.ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return c, err
	}
	return nil, errors.New("the server is not of the fleet that the enrolment code is from")
}

// accept keeps what the server gave. The file that names the fleet comes last: without it the machine is not enrolled.
func accept(o EnrolOptions, key *ecdsa.PrivateKey, ca *x509.Certificate, a protocol.Enrolled) error {
	if _, err := note.NewVerifier(a.Verifier); err != nil || a.ID == "" || a.Fleet == "" {
		return fmt.Errorf("enrol: %w: the server named no key that signs policy", protocol.ErrMalformed)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if err := saveCertificate(o.Dir, key, roots, a.Certificate, o.Now()); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := durable.Replace(filepath.Join(o.Dir, caFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o644); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	b, err := json.Marshal(identity{o.Server, a.ID, a.Fleet, a.Verifier})
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	return durable.Replace(filepath.Join(o.Dir, identityFile), b, 0o600)
}
