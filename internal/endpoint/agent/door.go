package agent

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Request is what somebody asks the agent of this machine. With a code it asks that the program be approved at once.
type Request struct {
	Path   string           `json:"path"`
	SHA256 string           `json:"sha256"`
	Reason string           `json:"reason,omitempty"`
	Code   string           `json:"code,omitempty"`
	Status bool             `json:"status,omitempty"` // nothing is asked for but how the agent does
	Act    *event.ActDetail `json:"act,omitempty"`    // root did something to the agent's machine: it is put on record
	// List asks what codes approved, and Withdraw ends what approves the program SHA256: root alone may.
	List     bool `json:"list,omitempty"`
	Withdraw bool `json:"withdraw,omitempty"`
}

// Reply is the agent's answer.
type Reply struct {
	Error        string    `json:"error,omitempty"`
	ID           string    `json:"id,omitempty"`   // of the record
	Until        time.Time `json:"until,omitzero"` // of an exception
	Mode         string    `json:"mode,omitempty"` // of the agent
	Policy       string    `json:"policy,omitempty"`
	Problem      string    `json:"problem,omitempty"` // with the policy
	Note         string    `json:"note,omitempty"`    // what the policy does not do in this mode
	Since        time.Time `json:"since,omitzero"`    // the worker's start: what is counted is counted from then
	Asked        int64     `json:"asked,omitempty"`
	Refused      int64     `json:"refused,omitempty"`
	NotInspected int64     `json:"not_inspected,omitempty"`
	Spooled      int64     `json:"spooled_bytes,omitempty"`
	Exceptions   int       `json:"exceptions,omitempty"`
	// Approved is what codes approve, without the codes; More is how many of them there are beyond MaxListed.
	Approved []exception.Exception `json:"approved,omitempty"`
	More     int                   `json:"more,omitempty"`
}

const (
	doorTimeout = 5 * time.Second
	maxRequest  = 16 << 10
	maxVisitors = 256  // at once
	maxPlaces   = 4    // of one user
	maxReason   = 1000 // bytes
	perMinute   = 6    // requests of one user
	// MaxListed is how many exceptions one reply holds.
	MaxListed = 1000
	maxReply  = 1 << 20
)

// Ask asks the agent of this machine.
func Ask(ctx context.Context, door string, r *Request) (*Reply, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", door)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(doorTimeout)); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	var reply Reply
	if err := json.NewDecoder(io.LimitReader(conn, maxReply)).Decode(&reply); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if reply.Error != "" {
		return nil, errors.New(reply.Error)
	}
	return &reply, nil
}

// openDoor answers people until the context ends.
func (a *Agent) openDoor(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(a.o.Door), 0o755); err != nil {
		return err
	}
	_ = os.Remove(a.o.Door) // of an earlier process
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", a.o.Door)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	if err := os.Chmod(a.o.Door, 0o666); err != nil { // whoever is stopped may ask
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	visits := &visits{last: map[uint32][]time.Time{}, inside: map[uint32]int{}}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		peer, err := Peer(conn)
		if err != nil || !visits.enter(peer.Uid) {
			_ = conn.Close() // whoever takes all his places shuts out nobody else
			continue
		}
		wg.Go(func() {
			defer visits.leave(peer.Uid)
			defer conn.Close()
			a.visit(conn, peer.Uid, visits)
		})
	}
}

// visit answers one person.
func (a *Agent) visit(conn net.Conn, uid uint32, v *visits) {
	if conn.SetDeadline(time.Now().Add(doorTimeout)) != nil {
		return
	}
	reply, err := a.reply(bufio.NewReader(io.LimitReader(conn, maxRequest)), uid, v)
	if err != nil {
		reply = &Reply{Error: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(reply) // whoever asked is gone when it fails
}

// Peer tells which process is at the other end of a unix socket.
func Peer(conn net.Conn) (*unix.Ucred, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("no unix socket")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return cred, nil
}

var (
	errRequest = errors.New("this is no request")
	errReason  = fmt.Errorf("the reason is longer than %d bytes", maxReason)
	errRoot    = errors.New("only root sees and withdraws what codes approved")
	errOften   = errors.New("too many requests: wait a minute")
	errKeep    = errors.New("the agent cannot keep this on record, as when its disk is full: nothing was asked for and nothing approved")
)

func (a *Agent) reply(in io.Reader, uid uint32, v *visits) (*Reply, error) {
	var r Request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return nil, errRequest
	}
	if r.Status {
		return a.status(), nil
	}
	if r.Act != nil {
		return a.act(r.Act, uid)
	}
	if r.List || r.Withdraw {
		return a.approved(&r, uid)
	}
	if err := r.sound(); err != nil {
		return nil, err
	}
	now := time.Now()
	who := a.current().Owner(uid)
	e := Act(&event.ActDetail{Action: "program.request", Object: r.SHA256, Purpose: r.Reason, Details: []event.Fact{{Name: "path", Value: r.Path}}},
		who, a.o.Host)
	if r.Code == "" {
		if !v.may(uid, now) {
			return nil, errOften
		}
		return &Reply{ID: string(e.ID)}, a.keep(e)
	}
	until, err := a.exceptions.Redeem(r.SHA256, r.Code, who, now, func(until time.Time) error { // it bounds the tries itself
		e.Phase, e.Act.Action = "program.except", "program.except"
		e.Act.Details = append(e.Act.Details, event.Fact{Name: "until", Value: until.Format(time.RFC3339)})
		return a.keep(e)
	})
	return &Reply{ID: string(e.ID), Until: until}, err
}

// approved tells root what codes approved, or withdraws it.
func (a *Agent) approved(r *Request, uid uint32) (*Reply, error) {
	if uid != 0 {
		return nil, errRoot
	}
	now := time.Now()
	if r.Withdraw {
		if err := r.sound(); err != nil {
			return nil, err
		}
		e := Act(&event.ActDetail{Action: "program.withdraw", Object: r.SHA256, Purpose: r.Reason}, a.current().Owner(uid), a.o.Host)
		n, err := a.exceptions.Withdraw(r.SHA256, now, func() error { return a.keep(e) })
		return &Reply{ID: string(e.ID), Exceptions: n}, err
	}
	all := a.exceptions.List(now)
	reply := &Reply{Exceptions: len(all), Approved: all[:min(len(all), MaxListed)]}
	reply.More = len(all) - len(reply.Approved)
	for i := range reply.Approved {
		reply.Approved[i].Code = ""
	}
	return reply, nil
}

// sound says why a request may not be put on record, and makes its texts fit to be shown on a terminal.
func (r *Request) sound() error {
	if _, err := hex.DecodeString(r.SHA256); err != nil || len(r.SHA256) != 2*sha256.Size || r.SHA256 != strings.ToLower(r.SHA256) {
		return errRequest
	}
	plain := func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}
	r.Path, r.Reason = strings.Map(plain, r.Path), strings.Map(plain, r.Reason)
	switch {
	case len(r.Reason) > maxReason:
		return errReason
	case len(r.Path) > unix.PathMax:
		return errRequest
	}
	return nil
}

// keep makes an event durable before anybody is told that it is.
func (a *Agent) keep(e *event.Event) error {
	if err := a.spool.Record(context.Background(), e); err != nil { // it does not wait for anybody
		a.log.Warn("a request is not kept", "error", err)
		return errKeep
	}
	a.spool.Soon()
	return nil
}

var errAct = errors.New("only root puts acts on record here, and only those of the agent")

// act puts on record what root did. It is durable when the reply comes.
func (a *Agent) act(detail *event.ActDetail, uid uint32) (*Reply, error) {
	if uid != 0 || !strings.HasPrefix(detail.Action, "harden.") {
		return nil, errAct
	}
	e := Act(detail, a.current().Owner(uid), a.o.Host)
	return &Reply{ID: string(e.ID)}, a.keep(e)
}

// Act is the event of what an administrator did to a machine.
func Act(detail *event.ActDetail, by string, host event.Host) *event.Event {
	now := time.Now()
	return &event.Event{ID: event.NewID(), Kind: event.Act, Phase: detail.Action, Time: now, Received: now, Connector: "agent", Host: host,
		From: event.Party{Handle: by}, Content: event.Content{Act: detail}}
}

func (a *Agent) status() *Reply {
	c := a.judge.Counts()
	a.mu.Lock()
	r := a.rules
	a.mu.Unlock()
	return &Reply{Mode: string(a.o.Mode), Policy: r.Policy.Version(), Problem: r.Problem, Note: Lenient(a.o.Mode, r.Policy), Since: a.since, Asked: c.Asked, Refused: c.Refused, NotInspected: c.NotInspected,
		Spooled: a.spool.Pending(), Exceptions: len(a.exceptions.List(time.Now()))}
}

// visits bounds how often one user asks, and how many places he takes meanwhile.
type visits struct {
	mu     sync.Mutex
	last   map[uint32][]time.Time
	inside map[uint32]int // by user
	all    int
}

func (v *visits) enter(uid uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inside[uid] >= maxPlaces || v.all >= maxVisitors {
		return false
	}
	v.inside[uid]++
	v.all++
	return true
}

func (v *visits) leave(uid uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all--
	if v.inside[uid]--; v.inside[uid] == 0 {
		delete(v.inside, uid)
	}
}

func (v *visits) may(uid uint32, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	times := v.last[uid]
	for len(times) > 0 && now.Sub(times[0]) > time.Minute {
		times = times[1:]
	}
	if len(times) >= perMinute {
		return false
	}
	v.last[uid] = append(times, now)
	return true
}

// HowToAsk says how a person asks for an exception. There are none from what the kernel refuses by itself.
func HowToAsk(s judge.Stop) string {
	if rule := s.Event.Verdict.Rule; rule == RuleFromMemory || rule == RuleFromNamespace {
		return ""
	}
	return "To ask for an exception: chaperone agent request " + strconv.Quote(s.Event.Program.Path)
}
