// Package client is the agent's side of the fleet: it enrols a machine, keeps one stream to the server, brings the signed bundles that come
// into force, and hands up what the spool holds.
//
// It decides nothing and looks at no file: what brings a policy into force (Applier) and what carries out an order (Executor) are given to
// it, so that the same client serves an agent that blocks programs and one that only scans, on every system that Go builds for.
//
// Nothing that ends makes a machine open: without a connection, with an expired certificate, after a restart, the last bundle stays in
// force, and a bundle with a lower number is refused for ever.
package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
)

// Executor carries out an order, as `scan --remove` and `quarantine restore` would.
type Executor interface {
	Execute(ctx context.Context, o protocol.Order) protocol.Report
}

// Options are what a Client works with.
type Options struct {
	Dir      string // state folder, which Enrol filled
	Server   string // host:port; "" is where it was enrolled
	Machine  Machine
	Apply    Applier
	Execute  Executor                                  // nil: orders are refused
	Told     func(o protocol.Order, r protocol.Report) // of orders that were carried out, one after the other; may be nil
	Spool    *spool.Spool
	Update   Updater // nil: every release of this program that is offered is refused
	Log      *slog.Logger
	Now      func() time.Time
	Briefly  bool          // the client ends soon: it answers at once, and not after a random pause as those do that stay
	FirstTry time.Duration // the longest wait before a second try to connect; it doubles from there. Default 5s
}

// Longest wait between two tries to connect, and between two of a machine that was put out.
const (
	maxWait    = 5 * time.Minute
	revokedTry = time.Hour
)

// ErrRevoked says that the fleet put this machine out.
var ErrRevoked = errors.New("this agent's certificate was revoked, or belongs to no machine of the fleet any more: enrol again, with the state folder removed if an administrator put the machine out")

// Client is an enrolled agent.
type Client struct {
	Options
	id     identity
	keeper *keeper
	key    *ecdsa.PrivateKey
	orders *ordersDone
	offers *refusals
	turn   atomic.Uint64 // see protocol.Welcome
	copied atomic.Pointer[string]

	current atomic.Pointer[stream] // of an agent that takes releases
	away    atomic.Pointer[error]  // why there is no connection

	working sync.Mutex // held while orders are carried out
	updated chan struct{}
	synced  chan struct{} // closed once all has come that the server had for us
	once    sync.Once     // of closing it
}

// New opens the state of an enrolled agent and brings the last bundle into force. Where the bundle cannot be, the error says so and the
// client is usable: it will get another.
func New(ctx context.Context, o Options) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FirstTry <= 0 {
		o.FirstTry = 5 * time.Second
	}
	id, err := loadIdentity(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Server == "" {
		o.Server = id.Server
	}
	c := &Client{Options: o, id: id, updated: make(chan struct{}, 1), synced: make(chan struct{})}
	if c.key, err = loadOrCreateKey(o.Dir); err != nil {
		return nil, err
	}
	if c.orders, err = loadOrders(o.Dir); err != nil {
		return nil, err
	}
	c.offers = loadRefusals(o.Dir)
	if err := c.loadTurn(); err != nil {
		return nil, err
	}
	if c.keeper, err = newKeeper(o.Dir, id, o.Apply, o.Now); err != nil {
		return nil, err
	}
	if err := c.keeper.load(ctx); err != nil {
		c.Log.Error("the last policy of the fleet could not be brought into force", "error", err)
	}
	return c, nil
}

// ID returns the id that the fleet gave this host.
func (c *Client) ID() string { return c.id.ID }

// Current returns what is in force; Generation is 0 before the first bundle has come.
func (c *Client) Current() Bundle { return c.keeper.inForce() }

// Synced is closed once all has come that the server had for this machine at the first connection.
func (c *Client) Synced() <-chan struct{} { return c.synced }

// Away returns why the last connection ended or came to nothing; nil before one has.
func (c *Client) Away() error {
	if err := c.away.Load(); err != nil {
		return *err
	}
	return nil
}

// Report puts a report, an inventory or a request into the spool.
func (c *Client) Report(kind protocol.ItemKind, v any) error {
	b, err := protocol.Encode(v)
	if err != nil {
		return err
	}
	return c.Spool.Add(protocol.Item{Kind: kind, Body: b})
}

// Run keeps the stream up until the context ends. A stream that ends is begun again after a random time that grows, so that a fleet does
// not come back all at once.
func (c *Client) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	beside.Go(func() { c.watchApprovals(ctx) })
	beside.Go(func() { c.carryOut(ctx) })
	wait, again := c.FirstTry, false
	for ctx.Err() == nil {
		began := c.Now()
		after, err := c.stream(ctx)
		if ctx.Err() != nil {
			break
		}
		if again = errors.Is(err, errAgain) && !again; again {
			continue
		}
		if c.Now().Sub(began) > time.Minute {
			wait = c.FirstTry
		}
		c.away.Store(&err)
		if errors.Is(err, ErrRevoked) {
			c.Log.Error("the fleet server refuses this machine; the last policy stays in force", "error", err)
			clock.Pause(ctx, revokedTry)
			continue
		}
		c.Log.Info("no connection to the fleet server; the last policy stays in force", "error", err)
		clock.Pause(ctx, max(after, time.Duration(rand.Int64N(int64(wait)+1))))
		wait = min(2*wait, maxWait)
	}
	return nil
}

// watchApprovals takes approvals back when they end, connected or not.
func (c *Client) watchApprovals(ctx context.Context) {
	for ctx.Err() == nil {
		next, err := c.keeper.expire(ctx)
		if err != nil {
			c.Log.Error("take an approval back that has ended", "error", err)
		}
		wait := time.Minute
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(c.Now()), 10*time.Millisecond))
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-c.keeper.ending:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// carryOut carries out orders as they come.
func (c *Client) carryOut(ctx context.Context) {
	for {
		if err := c.Orders(ctx); err != nil {
			c.Log.Error("carry out an order of the fleet", "error", err)
		}
		select {
		case <-c.updated:
		case <-ctx.Done():
			return
		}
	}
}

// Orders carries out the orders in force that were not carried out before, and spools their reports. The report is spooled before the order
// counts as done: after a crash between the two it is carried out again, which finds nothing more to do.
func (c *Client) Orders(ctx context.Context) error {
	c.working.Lock()
	defer c.working.Unlock()
	b := c.keeper.inForce()
	for _, o := range b.Orders {
		if _, done := c.orders.done[o.ID]; done {
			continue
		}
		r := c.execute(ctx, o, b.Held)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Order, r.Plan = o.ID, o.Plan
		parts, err := r.Parts()
		if err != nil {
			return err
		}
		if err := c.Spool.Add(parts...); err != nil {
			return err
		}
		if err := c.orders.put(r, b.Orders); err != nil {
			return err
		}
		if c.Told != nil {
			c.Told(o, r)
		}
	}
	return nil
}

// execute carries out one order, or says why it may not be: a held host refuses every removal (law 5).
func (c *Client) execute(ctx context.Context, o protocol.Order, held bool) protocol.Report {
	switch {
	case held && o.Action != protocol.RestoreOrder:
		return protocol.Report{Refused: "the host is under a legal hold: nothing is removed from it"}
	case c.Now().After(o.Expires):
		return protocol.Report{Refused: "the order came after its end"}
	case c.Execute == nil:
		return protocol.Report{Refused: "this agent removes nothing"}
	}
	r, left := protocol.Report{}, o
	left.Items = nil
	for _, i := range o.Items {
		if a, ok := c.approved(i); ok && o.Action != protocol.RestoreOrder {
			r.Outcomes = append(r.Outcomes, protocol.Outcome{Path: i.Path, SHA256: i.SHA256, Action: "none", Error: "approved on this machine until " + a.Until.Format(time.DateTime)})
			continue
		}
		left.Items = append(left.Items, i)
	}
	done := c.Execute.Execute(ctx, left)
	done.Outcomes = append(r.Outcomes, done.Outcomes...)
	return done
}

// approved returns the approval in force that lets a file run: what is approved is not removed.
func (c *Client) approved(i protocol.OrderItem) (protocol.Approval, bool) {
	for _, a := range c.keeper.inForce().Approvals {
		if c.Now().Before(a.Until) && (a.App != "" && a.App == i.App || a.SHA256 != "" && a.SHA256 == i.SHA256) {
			return a, true
		}
	}
	return protocol.Approval{}, false
}

// word tells what the server says by hanging up in the handshake. Of TLS 1.3 the client hears it with the first read only.
func word(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == badCertificate.Error() {
		return fmt.Errorf("%w: %w", ErrRevoked, err)
	}
	return err
}

// badCertificate is the alert with which a fleet server refuses a certificate that it issued itself (RFC 8446, section 6.2).
const badCertificate tls.AlertError = 42

// dial connects and proves who we are.
func (c *Client) dial(ctx context.Context) (*tls.Conn, *credentials, error) {
	creds, err := loadCredentials(c.Dir)
	if err != nil {
		return nil, nil, err
	}
	config := creds.tlsConfig()
	config.Time = c.Now
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 5 * time.Minute}, Config: config}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", c.Server)
	if err != nil {
		return nil, nil, word(err)
	}
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a connection of type %T", conn), conn.Close())
	}
	return t, creds, nil
}
