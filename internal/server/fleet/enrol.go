package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// wrongCodes is how many wrong codes an address may try in a minute.
const wrongCodes = 10

// enrol answers one question of a machine that wants a certificate.
func (s *Server) enrol(ctx context.Context, conn *tls.Conn, from string) error {
	kind, payload, err := protocol.Read(conn)
	if err != nil {
		return err
	}
	if kind != protocol.EnrolFrame {
		return fmt.Errorf("%w: a frame of kind %q from one that enrols", protocol.ErrMalformed, byte(kind))
	}
	ask, err := protocol.Decode[protocol.Enrol](payload)
	if err != nil {
		return err
	}
	request, err := protocol.ParseRequest(ask.Request)
	if err != nil {
		return err
	}
	answer, err := s.answer(ctx, ask, request, from)
	if err != nil {
		s.deps.Log.Warn("fleet: enrolment refused", "from", from, "name", ask.Name, "error", err)
		answer = protocol.Enrolled{State: protocol.Denied, Reason: "the server could not take the machine in: its log says why"}
		if errors.Is(err, errCode) || errors.Is(err, ErrTooMany) {
			answer.Reason = err.Error()
		}
	}
	answer.Fingerprint = protocol.Fingerprint(request.RawSubjectPublicKeyInfo)
	if err := conn.SetWriteDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	return protocol.Send(conn, protocol.EnrolledFrame, answer)
}

// answer says how far the enrolment of a key is, and begins one when a good code is shown.
func (s *Server) answer(ctx context.Context, ask protocol.Enrol, request *x509.CertificateRequest, from string) (protocol.Enrolled, error) {
	h, known := s.roster.byKey(protocol.Fingerprint(request.RawSubjectPublicKeyInfo))
	if known {
		switch h.State {
		case Pending:
			return protocol.Enrolled{State: protocol.Pending}, nil
		case Denied, Revoked:
			return protocol.Enrolled{State: protocol.Denied, Reason: "an administrator refused this machine"}, nil
		case Approved:
			if len(h.Certificate) > 0 {
				return protocol.Enrolled{State: protocol.Approved, ID: h.ID, Certificate: h.Certificate, Fleet: s.auth.Name(), Verifier: s.auth.Verifier()}, nil
			}
		}
	}
	if !s.wrong.Within(from, wrongCodes) {
		return protocol.Enrolled{}, errCode
	}
	if err := s.codes.use(ask.Code, ask.Secret); err != nil {
		return protocol.Enrolled{}, err
	}
	s.wrong.Done(from)
	if !known { // else a machine that lost its certificate, or whose certificate has ended, comes back: it waits for approval again
		h = Host{ID: event.RandomID(), Fingerprint: protocol.Fingerprint(request.RawSubjectPublicKeyInfo)}
	}
	h.State, h.Name, h.Addresses, h.From, h.OS, h.Arch, h.Version = Pending, ask.Name, ask.Addresses, from, ask.OS, ask.Arch, ask.Version
	h.Code, h.Asked, h.Request, h.Decided, h.By = ask.Code, s.deps.Clock.Now(), request.Raw, time.Time{}, ""
	if err := s.act(ctx, "code "+ask.Code, "fleet.enrol", h.Name, event.Fact{Name: "host", Value: h.ID}, event.Fact{Name: "fingerprint", Value: h.Fingerprint}, event.Fact{Name: "from", Value: from}); err != nil {
		return protocol.Enrolled{}, err
	}
	return protocol.Enrolled{State: protocol.Pending}, s.roster.put(h)
}

// Approve lets a machine in: it gets its certificate when it asks again.
func (s *Server) Approve(ctx context.Context, by, what string) (Host, error) {
	h, err := s.roster.find(what, Pending)
	if err != nil {
		return h, err
	}
	if h.State != Pending {
		return h, fmt.Errorf("%s: %w", h.Name, ErrNotPending)
	}
	request, err := protocol.ParseRequest(h.Request)
	if err != nil {
		return h, err
	}
	if err := s.act(ctx, by, "fleet.approve", h.Name, event.Fact{Name: "host", Value: h.ID}, event.Fact{Name: "fingerprint", Value: h.Fingerprint}); err != nil {
		return h, err
	}
	if h.Certificate, h.Ends, err = s.auth.Issue(request, h.ID); err != nil {
		return h, err
	}
	h.State, h.By, h.Decided, h.Request = Approved, by, s.deps.Clock.Now(), nil
	return h, s.roster.put(h)
}

// Deny refuses a machine that waits, or puts one out of the fleet that belongs to it: its stream ends and its certificate is worth nothing.
func (s *Server) Deny(ctx context.Context, by, what, reason string) (Host, error) {
	h, err := s.roster.find(what, Pending, Approved)
	if err != nil {
		return h, err
	}
	action, next := "fleet.deny", Denied
	if h.State == Approved {
		action, next = "fleet.revoke", Revoked
	}
	if h.State == Denied || h.State == Revoked {
		return h, fmt.Errorf("%s: %w", h.Name, ErrNotPending)
	}
	if err := s.act(ctx, by, action, h.Name, event.Fact{Name: "host", Value: h.ID}, event.Fact{Name: "reason", Value: reason}); err != nil {
		return h, err
	}
	h.State, h.By, h.Decided, h.Request, h.Certificate = next, by, s.deps.Clock.Now(), nil, nil
	if err := s.roster.put(h); err != nil {
		return h, err
	}
	if ss := s.session(h.ID); ss != nil {
		ss.refuse("this machine was put out of the fleet", 3600)
	}
	return h, nil
}

// renew issues another certificate to an agent over its stream.
func (s *Server) renew(host string, der []byte) ([]byte, error) {
	h, ok := s.roster.get(host)
	if !ok || h.State != Approved {
		return nil, ErrUnknownHost
	}
	request, err := protocol.ParseRequest(der)
	if err != nil {
		return nil, err
	}
	if protocol.Fingerprint(request.RawSubjectPublicKeyInfo) != h.Fingerprint {
		return nil, fmt.Errorf("%w: a renewal is for the same key", protocol.ErrMalformed)
	}
	cert, ends, err := s.auth.Issue(request, h.ID)
	if err != nil {
		return nil, err
	}
	h.Ends = ends
	return cert, s.roster.put(h)
}

// NewCode makes an enrolment code. Its secret is shown once.
func (s *Server) NewCode(ctx context.Context, by, comment string, life time.Duration, uses int) (string, error) {
	if err := checkCode(life, uses); err != nil {
		return "", err
	}
	if err := s.act(ctx, by, "fleet.code", comment, event.Fact{Name: "uses", Value: fmt.Sprint(uses)}, event.Fact{Name: "life", Value: life.String()}); err != nil {
		return "", err
	}
	code, err := s.codes.make(s.auth.Pin(), by, comment, life, uses)
	if err != nil {
		return "", err
	}
	return code.String(), nil
}

// Codes returns the enrolment codes in force, without their secrets.
func (s *Server) Codes() []Code { return s.codes.all() }

// WithdrawCode ends an enrolment code.
func (s *Server) WithdrawCode(ctx context.Context, by, name string) error {
	if err := s.act(ctx, by, "fleet.code.withdraw", name); err != nil {
		return err
	}
	return s.codes.withdraw(name)
}

// Hosts returns the hosts in some states, all when none is given.
func (s *Server) Hosts(states ...State) []Host {
	list := s.roster.list(states...)
	for i := range list {
		list[i].Seen.Online = s.session(list[i].ID) != nil
	}
	return list
}

// Host returns one host by its id.
func (s *Server) Host(id string) (Host, error) {
	h, ok := s.roster.get(id)
	if !ok {
		return h, ErrUnknownHost
	}
	h.Seen.Online = s.session(id) != nil
	return h, nil
}
