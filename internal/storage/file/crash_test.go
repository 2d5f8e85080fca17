package file_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

const crashDir, crashFrom, crashSpool = "CHAPERONE_TEST_CRASH_DIR", "CHAPERONE_TEST_CRASH_FROM", "CHAPERONE_TEST_CRASH_SPOOL"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		from, _ := strconv.Atoi(os.Getenv(crashFrom))
		play := victim
		if os.Getenv(crashSpool) != "" {
			play = spoolVictim
		}
		if err := play(dir, int64(from)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim appends under load, and says on standard output what was acknowledged, until it is killed.
func victim(dir string, from int64) error {
	j, _, err := file.Open(dir, file.Options{SegmentSize: 100_000})
	if err != nil {
		return err
	}
	var next atomic.Int64
	next.Store(from)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for {
				n := int(next.Add(1))
				if _, e := j.Append(context.Background(), journaltest.Record(n)); e != nil {
					return
				}
				mu.Lock()
				fmt.Println(n)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return j.Close()
}

// TestKill kills a writing process at random moments: every record it was acknowledged for is there, in order, and the next process goes on.
func TestKill(t *testing.T) {
	kills := 20
	if os.Getenv("CHAPERONE_SOAK") != "" {
		kills = 300
	}
	if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	var all []int
	for round := 0; round < kills || len(all) < kills && round < 10*kills; round++ { // a slow disk takes few records in the moments that it has
		acknowledged := killOne(t, dir, round*1_000_000)
		all = append(all, acknowledged...)
		check(t, file.OpenReader(dir), all) // also as a reader finds it, before anything is cut
	}
	j, cut := open(t, dir, file.Options{})
	there := check(t, j, all)
	if len(all) < kills {
		t.Errorf("only %d records were acknowledged before %d kills", len(all), kills)
	}
	t.Logf("%d kills: %d acknowledged, %d there, last cut %+v", kills, len(all), len(there), cut)
}

func killOne(t *testing.T, dir string, from int, more ...string) []int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run=none")
	c.Env = append(os.Environ(), crashDir+"="+dir, crashFrom+"="+strconv.Itoa(from))
	c.Env = append(c.Env, more...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []int
	lines := bufio.NewScanner(out)
	kill := sync.OnceFunc(func() {
		time.AfterFunc(time.Duration(rand.Intn(60))*time.Millisecond, func() { c.Process.Kill() })
	})
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			acknowledged = append(acknowledged, n)
		}
		kill()
	}
	c.Wait()
	if n := len(acknowledged); n > 0 { // the last line may be half written
		acknowledged = acknowledged[:n-1]
	}
	return acknowledged
}
