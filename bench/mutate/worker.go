package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// What one input may take before it is a finding: the bounds that the scanner's child has for one file.
const (
	maxTime   = 2 * time.Second
	maxMemory = 256 << 20
	hangTime  = 20 * time.Second // then the worker gives up
	dataLimit = 1 << 30          // of the whole worker, as of the child
)

// Kinds of findings.
const (
	kindPanic  = "panic"
	kindCaught = "caught panic"
	kindSlow   = "slow"
	kindMemory = "memory"
	kindDied   = "died"
	kindHung   = "hung"
	kindDoor   = "door"
)

// Finding is an input that a parser should have read otherwise.
type Finding struct {
	Parser string `json:"parser"`
	Kind   string `json:"kind"`
	Index  uint64 `json:"index"`
	Detail string `json:"detail"`
	File   string `json:"file,omitempty"` // where the input is kept
}

// Tally is what has been counted so far.
type Tally struct {
	Done    uint64        `json:"done"`
	Clean   uint64        `json:"clean"`
	Slowest time.Duration `json:"slowest_ns"`
	SlowAt  uint64        `json:"slow_at"`
	Largest uint64        `json:"largest_bytes"` // allocated by one input in all
	LargeAt uint64        `json:"large_at"`
	Live    uint64        `json:"live_bytes"` // at one time, of those that were looked at
	CPU     time.Duration `json:"cpu_ns"`
}

// line is what a worker says.
type line struct {
	Tally   *Tally   `json:"tally,omitempty"`
	Finding *Finding `json:"finding,omitempty"`
}

// worker runs inputs through one parser.
type worker struct {
	parser  parser
	mutator *mutator
	out     *json.Encoder
	tally   Tally
	told    map[string]bool
	current []byte // shared with the parent: the index that is read now
	since   atomic.Int64
	samples []metrics.Sample
}

// newWorker makes one whose current index is in the file named where.
func newWorker(p parser, seeds []seed, number uint64, where string, out io.Writer) (*worker, error) {
	f, err := os.OpenFile(where, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		return nil, err
	}
	current, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return &worker{parser: p, mutator: &mutator{seeds: seeds, number: number}, out: json.NewEncoder(out), told: map[string]bool{}, current: current,
		samples: []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}}, nil
}

// confine gives the worker the limits of the child.
func confine() error {
	runtime.GOMAXPROCS(2) // one to read, one to look at how much memory is in use
	debug.SetMemoryLimit(dataLimit / 4 * 3)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: dataLimit, Max: dataLimit}); err != nil {
		return fmt.Errorf("limit of memory: %w", err)
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// run reads the inputs from one index to another, and says from time to time how far it is.
func (w *worker) run(from, to uint64) error {
	stop := make(chan struct{})
	defer close(stop)
	go w.watch(stop)
	said := time.Now()
	for i := from; i < to && !sandbox.Outgrown(dataLimit); i++ {
		binary.LittleEndian.PutUint64(w.current, i)
		w.one(i)
		if w.tally.Done%64 == 0 && time.Since(said) > time.Second {
			said = time.Now()
			if err := w.say(); err != nil {
				return err
			}
		}
	}
	return w.say()
}

// say tells what was counted since it was last told.
func (w *worker) say() error {
	t := w.tally
	w.tally = Tally{}
	return w.out.Encode(line{Tally: &t})
}

func (w *worker) find(kind string, index uint64, detail string) {
	key := kind + digitless(detail)
	if w.told[key] {
		return // each once
	}
	w.told[key] = true
	_ = w.out.Encode(line{Finding: &Finding{Parser: w.parser.name, Kind: kind, Index: index, Detail: detail}}) // a parent that is gone ends us by the next tally
}

// digitless makes the texts of one fault with other numbers alike.
func digitless(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// one reads one input and weighs it.
func (w *worker) one(index uint64) {
	b := w.mutator.input(index)
	before, begun := w.allocated(), cpu()
	w.since.Store(int64(begun) + 1)
	out := w.read(index, b)
	w.since.Store(0)
	took, allocated := cpu()-begun, w.allocated()-before
	w.tally.Done++
	w.tally.CPU += took
	if out.clean {
		w.tally.Clean++
	}
	if out.caught != "" {
		w.find(kindCaught, index, out.caught)
	}
	if took > w.tally.Slowest {
		w.tally.Slowest, w.tally.SlowAt = took, index
	}
	if took > maxTime {
		w.find(kindSlow, index, took.Round(time.Millisecond).String())
	}
	if allocated > w.tally.Largest {
		w.tally.Largest, w.tally.LargeAt = allocated, index
	}
	if allocated > w.parser.memory() { // what of it was alive at one time?
		live := w.live(index, b)
		w.tally.Live = max(w.tally.Live, live)
		if live > w.parser.memory() {
			w.find(kindMemory, index, fmt.Sprintf("%d MiB live", live>>20))
		}
	}
}

// read reads one input; a panic is a finding.
func (w *worker) read(index uint64, b []byte) (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			w.find(kindPanic, index, fmt.Sprintf("%v %s", p, where(debug.Stack())))
		}
	}()
	return w.parser.read(b)
}

// where names the functions of ours below a panic.
func where(stack []byte) string {
	var at []string
	for l := range strings.Lines(string(stack)) {
		if strings.HasPrefix(l, "\t") && strings.Contains(l, ".go:") && !strings.Contains(l, "/runtime/") && !strings.Contains(l, "bench/mutate") {
			l, _, _ = strings.Cut(strings.TrimSpace(l), " ")
			at = append(at, filepath.Base(filepath.Dir(l))+"/"+filepath.Base(l))
		}
	}
	return strings.Join(at[:min(3, len(at))], " < ")
}

// live reads an input again, while it looks often at how much memory is in use.
func (w *worker) live(index uint64, b []byte) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	base, peak := sample[0].Value.Uint64(), uint64(0)
	finished, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(500 * time.Microsecond); ; {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-finished:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	w.read(index, b)
	close(finished)
	<-watched
	metrics.Read(sample) // what came and stayed since it was last looked at
	peak = max(peak, sample[0].Value.Uint64())
	runtime.GC()
	return peak - min(base, peak)
}

// watch ends the worker when one input never ends.
func (w *worker) watch(stop chan struct{}) {
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-stop:
			tick.Stop()
			return
		case <-tick.C:
		}
		if since := w.since.Load(); since > 0 && cpu()-time.Duration(since-1) > hangTime {
			buf := make([]byte, 1<<16)
			fmt.Fprintf(os.Stderr, "hung: %s\n", buf[:runtime.Stack(buf, true)])
			os.Exit(exitHung)
		}
	}
}

const exitHung = 7

func (w *worker) allocated() uint64 {
	metrics.Read(w.samples)
	return w.samples[0].Value.Uint64()
}

// cpu is what this process has taken of the processor: what others take of it counts for no input.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// currentIndex is what a worker was reading when it ended.
func currentIndex(where string) (uint64, error) {
	b, err := os.ReadFile(filepath.Clean(where))
	if err != nil || len(b) < 8 {
		return 0, fmt.Errorf("current index: %w", err)
	}
	return binary.LittleEndian.Uint64(b), nil
}
