package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxWaiting bounds, as a multiple of a job's patience, how long a child may be kept from a processor by others without losing its job.
const maxWaiting = 60

// patience ends a job when its time is over. What others took of the processor while the child was ready to run is not the child's fault and is
// given to it again: on a busy machine it would else be the load that decides what is looked into.
type patience struct {
	pid         int
	base, given time.Duration
	before      time.Duration // it had waited when the job began
	over        func()

	mu    sync.Mutex
	timer *time.Timer // nil: stopped
}

// startPatience calls over when the time is over, unless it is stopped before.
func startPatience(pid int, base time.Duration, over func()) *patience {
	p := &patience{pid: pid, base: base, before: waited(pid), over: over}
	p.mu.Lock()
	p.timer = time.AfterFunc(base, p.look)
	p.mu.Unlock()
	return p
}

// look gives the time that the child has waited, or ends the job.
func (p *patience) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	more := min(waited(p.pid)-p.before, maxWaiting*p.base) - p.given
	if more <= time.Millisecond {
		p.over()
		return
	}
	p.given += more
	p.timer.Reset(more)
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.timer = nil
}

// waited is how long the threads of a process were ready to run and did not (proc_pid_schedstat: the second number), zero where the kernel does
// not tell.
func waited(pid int) time.Duration {
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			n, _ := strconv.ParseInt(fields[1], 10, 64) // zero when it is no number
			sum += time.Duration(n)
		}
	}
	return sum
}
