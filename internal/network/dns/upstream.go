package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/clock"
)

// backOff is how long a silent upstream is asked last.
const backOff = 5 * time.Second

// upstreams are the resolvers that answer allowed questions.
type upstreams struct {
	servers []*upstream
	timeout time.Duration
	clock   clock.Clock
	failing atomic.Bool
	told    func(error) // of the change to failing, and back
	udp     wire.Client
	tcp     wire.Client
}

type upstream struct {
	addr  string
	until atomic.Int64 // unix nanoseconds until which it is asked last
}

func newUpstreams(addrs []string, timeout time.Duration, c clock.Clock, told func(error)) *upstreams {
	u := &upstreams{timeout: timeout, clock: c, told: told,
		udp: wire.Client{Net: "udp", UDPSize: ednsSize, Timeout: timeout}, tcp: wire.Client{Net: "tcp", Timeout: timeout}}
	for _, a := range addrs {
		u.servers = append(u.servers, &upstream{addr: a})
	}
	return u
}

// forward asks upstream, once for all clients that ask the same at the same time: the more equal questions are under way, the easier an
// answer is forged (RFC 5452, section 5).
func (r *Resolver) forward(ctx context.Context, q *query) (*stored, error) {
	question := q.msg.Question[0]
	flight := fmt.Sprintf("%s %d %t %t", q.key.name, q.key.qtype, q.key.do, q.key.cd)
	v, err, _ := r.flights.Do(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.Timeout)
		defer cancel()
		m := new(wire.Msg)
		m.SetQuestion(wire.Fqdn(strings.ToLower(question.Name)), question.Qtype)
		m.CheckingDisabled = q.key.cd
		m.AuthenticatedData = true // say whether it was validated (RFC 6840, section 5.7)
		m.SetEdns0(ednsSize, q.key.do)
		answer, err := r.upstream.ask(ctx, m)
		if err != nil {
			return nil, err
		}
		s := &stored{msg: answer, at: r.dep.Clock.Now()}
		r.cache.put(q.key, s)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*stored), nil
}

// ask tries the servers in order, those that were silent lately last, until one gives an answer or the time is up.
func (u *upstreams) ask(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
	var last error
	var poor *wire.Msg // an answer that another server may better
	for _, s := range u.order() {
		answer, err := u.exchange(ctx, m, s.addr)
		if err != nil {
			last = err
			s.until.Store(u.clock.Now().Add(backOff).UnixNano())
			if ctx.Err() != nil {
				break
			}
			continue
		}
		s.until.Store(0)
		if answer.Rcode == wire.RcodeServerFailure || answer.Rcode == wire.RcodeRefused || answer.Rcode == wire.RcodeNotImplemented {
			poor = answer
			continue
		}
		u.report(nil)
		return answer, nil
	}
	if poor != nil {
		return poor, nil
	}
	u.report(last)
	return nil, last
}

func (u *upstreams) report(err error) {
	if failing := err != nil; u.failing.Swap(failing) != failing {
		u.told(err)
	}
}

// order returns the servers, those in back-off last, and a single server twice: one lost packet must not fail a question.
func (u *upstreams) order() []*upstream {
	now := u.clock.Now().UnixNano()
	out := make([]*upstream, 0, len(u.servers)+1)
	var late []*upstream
	for _, s := range u.servers {
		if s.until.Load() > now {
			late = append(late, s)
			continue
		}
		out = append(out, s)
	}
	out = append(out, late...)
	if len(out) == 1 {
		out = append(out, out[0])
	}
	return out
}

// errMismatch is an answer to something else.
var errMismatch = errors.New("answer does not fit the question")

// exchange asks one server: over UDP from a port of its own with a random id, and over TCP when the answer was cut.
func (u *upstreams) exchange(ctx context.Context, m *wire.Msg, addr string) (*wire.Msg, error) {
	answer, err := talk(ctx, &u.udp, m, addr)
	if err == nil && answer.Truncated {
		answer, err = talk(ctx, &u.tcp, m, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	if !answer.Response || len(answer.Question) != 1 || answer.Question[0].Qtype != m.Question[0].Qtype ||
		!strings.EqualFold(answer.Question[0].Name, m.Question[0].Name) {
		return nil, fmt.Errorf("ask %s: %w", addr, errMismatch)
	}
	return answer, nil
}

// talk asks over one transport and gives up when ctx ends, which the client by itself does not.
func talk(ctx context.Context, c *wire.Client, m *wire.Msg, addr string) (*wire.Msg, error) {
	conn, err := c.DialContext(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	m.Id = wire.Id()
	answer, _, err := c.ExchangeWithConnContext(ctx, m, conn)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return answer, err
}

// reasonCode returns the Extended DNS Error of a failure (RFC 8914, sections 4.23 and 4.24).
func reasonCode(err error) uint16 {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return wire.ExtendedErrorCodeNoReachableAuthority
	}
	return wire.ExtendedErrorCodeNetworkError
}
