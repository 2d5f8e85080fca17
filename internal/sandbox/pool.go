package sandbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the limits of a pool. Zero values mean the defaults.
type Options struct {
	Workers   int           // children at most; default 1
	Threads   int           // of one child at work at a time; default 1
	Memory    uint64        // bytes of data per child; default 1 GiB
	Timeout   time.Duration // per job, before what Patience adds for its size; default 2 s
	MaxAnswer int           // bytes of answers per job; default 32 MiB
	Setup     []byte        // given to every job
	Binary    string        // our own binary; default that of this process
	Log       *slog.Logger
}

// JobsPerChild and busyPerChild bound a child's life, so that what leaks or fragments in a parser does not add up.
const (
	JobsPerChild  = 20000
	busyPerChild  = 2 * time.Minute
	startTimeout  = 20 * time.Second
	startAttempts = 3
	maxStderr     = 64 << 10
	childMark     = "CHAPERONE_SANDBOX_CHILD" // in a child's environment, so that none starts children of its own
)

var errClosed = errors.New("sandbox: closed")

// Pool keeps children ready and gives them jobs. It is safe for concurrent use.
type Pool struct {
	opts  Options
	slots chan *worker // nil: a place with no child yet
	done  chan struct{}

	mu     sync.Mutex
	status Status
	closed bool
}

// New returns a pool. Children start with the first jobs.
func New(opts Options) *Pool {
	opts.Workers, opts.Threads = max(opts.Workers, 1), max(opts.Threads, 1)
	if opts.Memory == 0 {
		opts.Memory = defaultMemory
	}
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.MaxAnswer == 0 {
		opts.MaxAnswer = 32 << 20
	}
	if opts.Binary == "" {
		opts.Binary = ownBinary()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{opts: opts, slots: make(chan *worker, opts.Workers), done: make(chan struct{})}
	for range opts.Workers {
		p.slots <- nil
	}
	return p
}

// Run parses f with the named parser and gives each answer to answer. An error that is a *Failure concerns this job only.
func (p *Pool) Run(ctx context.Context, parser string, f *os.File, arg []byte, answer func([]byte) error) error {
	var w *worker
	select {
	case w = <-p.slots:
	case <-p.done:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.slots <- w }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("sandbox: stat: %w", err)
	}
	j := job{request{Parser: parser, Arg: arg}, f, answer, p.opts.MaxAnswer, Patience(p.opts.Timeout, info.Size())}
	for {
		rested := w != nil // a child that died between two jobs is not this job's fault
		if w == nil {
			if w, err = p.start(ctx); err != nil {
				w = nil
				return err
			}
		}
		err := w.run(ctx, &j)
		silent := !w.heard
		if w.spent(err) {
			w.end()
			w = nil
		}
		var failed *Failure
		if rested && silent && errors.As(err, &failed) && failed.Reason == Crashed {
			continue
		}
		return err
	}
}

// spent reports whether a child must be replaced: it failed, or it is old.
func (w *worker) spent(err error) bool {
	var failed *Failure
	refused := errors.As(err, &failed) && failed.Reason == Refused
	return err != nil && !refused || w.jobs >= JobsPerChild || w.busy > busyPerChild
}

// Status starts a child when none has run yet and says how far children are confined.
func (p *Pool) Status(ctx context.Context) (Status, error) {
	select {
	case w := <-p.slots:
		defer func() { p.slots <- w }()
		if w == nil {
			started, err := p.start(ctx)
			if err != nil {
				return Status{}, err
			}
			w = started
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.status, nil
	case <-p.done:
		return Status{}, errClosed
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
}

// Close ends all children, waiting for jobs that run.
func (p *Pool) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	close(p.done)
	for range p.opts.Workers {
		if w := <-p.slots; w != nil {
			w.end()
		}
	}
	return nil
}

func (p *Pool) start(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	var w *worker
	var status Status
	var err error
	for range startAttempts { // one that is killed while it starts is no reason to give up
		if w, status, err = startWorker(&p.opts); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: start child: %w", err)
	}
	if d := status.Degraded(); d != "" && p.status != status {
		p.opts.Log.WarnContext(ctx, "sandbox is degraded", "why", d)
	}
	p.status = status
	return w, nil
}

type worker struct {
	cmd    *exec.Cmd
	link   *link
	stderr *tail
	setup  []byte // until the first request took it along
	jobs   int
	busy   time.Duration
	heard  bool // something came back for the last job
}

// job is one job as the parent sees it.
type job struct {
	request
	file      *os.File
	answer    func([]byte) error
	maxAnswer int
	patience  time.Duration
}

func startWorker(opts *Options) (*worker, Status, error) {
	if os.Getenv(childMark) != "" {
		return nil, Status{}, errors.New("this is a child itself: main does not call sandbox.Child")
	}
	w := &worker{stderr: &tail{}, setup: opts.Setup}
	w.cmd = exec.Command(opts.Binary, Argument, strconv.FormatUint(opts.Memory, 10))
	w.cmd.Args[0] = os.Args[0] // test binaries tell from it which command they are
	w.cmd.Env = []string{"GOMAXPROCS=" + strconv.Itoa(opts.Threads), "GOTRACEBACK=single", "GOCOVERDIR=/", childMark + "=1"}
	w.cmd.Stderr = w.stderr
	w.cmd.WaitDelay = time.Second // should anything else hold its standard error
	var err error
	if w.link, err = connect(w.cmd, opts.Memory); err != nil {
		return nil, Status{}, err
	}
	var status Status
	err = w.link.until(time.Now().Add(startTimeout))
	if err == nil {
		var kind byte
		var body []byte
		kind, body, err = readFrame(w.link)
		switch {
		case err != nil:
		case kind != frameHello: // an empty Status would claim that everything is in force
			err = errors.New("no greeting")
		default:
			err = json.Unmarshal(body, &status)
		}
	}
	if err != nil {
		w.end()
		return nil, Status{}, fmt.Errorf("%w (%s)", err, w.stderr.last())
	}
	return w, status, nil
}

func (w *worker) run(ctx context.Context, j *job) error {
	begun := time.Now()
	defer func() { w.jobs, w.busy = w.jobs+1, w.busy+time.Since(begun) }()
	w.heard = false
	if err := w.link.until(time.Time{}); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	defer w.link.rest()
	end := func() { _ = w.link.until(time.Unix(1, 0)) }
	defer startPatience(w.cmd.Process.Pid, j.patience, end).stop()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	if err := w.send(j.request, j.file); err != nil {
		return w.failure(ctx, err, "")
	}
	var at string
	for total := 0; ; {
		kind, body, err := readFrame(w.link)
		if err != nil {
			return w.failure(ctx, err, at)
		}
		w.heard = true
		switch kind {
		case frameDone:
			return nil
		case frameFailed:
			return &Failure{Reason: Refused, At: at, Detail: string(body)}
		case frameAt:
			at = string(body)
		case frameAnswer:
			if total += len(body); total > j.maxAnswer {
				return &Failure{Reason: TooMuch, At: at}
			}
			if err := j.answer(body); err != nil {
				return err
			}
		default:
			return &Failure{Reason: Crashed, At: at, Detail: "protocol error"}
		}
	}
}

// send writes the request; the open file goes with its length.
func (w *worker) send(req request, f *os.File) error {
	req.Setup, w.setup = w.setup, nil
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if len(body) > maxRequest {
		return errFrameTooLarge
	}
	return w.link.send(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body, f)
}

// failure ends the child and tells from how it ended what went wrong.
func (w *worker) failure(ctx context.Context, err error, at string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Failure{Reason: Timeout, At: at}
	}
	w.end()
	said := w.stderr.last()
	if strings.Contains(said, "out of memory") || strings.Contains(said, "VirtualAlloc") || strings.Contains(said, "cannot allocate memory") {
		return &Failure{Reason: Memory, At: at}
	}
	return &Failure{Reason: Crashed, At: at, Detail: strings.TrimSpace(w.cmd.ProcessState.String() + " " + said)}
}

// end kills the child and waits for it.
func (w *worker) end() {
	if w.cmd.ProcessState != nil {
		return
	}
	_ = w.link.Close()
	_ = w.cmd.Process.Kill() // an error means that it has ended already
	_ = w.cmd.Wait()         // how it ended is in ProcessState
}

// tail keeps the first bytes a child says on standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write keeps what fits.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[:min(len(p), maxStderr-len(t.b))]...)
	return len(p), nil
}

// last returns the first line, which is where a Go program says why it dies.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := strings.Cut(string(t.b), "\n")
	return clip(line, 200)
}

var _ io.Writer = (*tail)(nil)
