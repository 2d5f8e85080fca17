package inspection

import (
	"os"
	"strings"
	"testing"
)

const smaps = `00400000-01570000 r-xp 00000000 08:01 77 /opt/a program
Size:              17856 kB
Rss:               11740 kB
Private_Dirty:      9000 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
01570000-02a75000 r--p 01170000 08:01 77 /opt/a program
Rss:                9816 kB
Private_Dirty:         4 kB
Anonymous:             4 kB
VmFlags: rd mr mw me
02a75000-02b40000 rw-p 02674000 08:01 77 /opt/a program
Rss:                 684 kB
Anonymous:             0 kB
VmFlags: rd wr mr mw me
7f0000000000-7f0000002000 r-xp 00000000 08:01 78 /opt/a program.so
Rss:                   8 kB
VmFlags: rd ex
7f0000003000-7f0000004000 r-xp 00000000 00:00 0
Rss:                   4 kB
VmFlags: rd ex
7f0000005000-7f0000006000 r--p 00000000 08:01 77 /opt/a program
Rss:                   4 kB
Swap:                  x kB
VmFlags: rd
x-y r--p 00000000 08:01 77 /opt/a program
VmFlags: rd
9-1 r--p 00000000 08:01 77 /opt/a program
VmFlags: rd
`

// TestUnchanged: only what is read-only, of that file, and like the file is given back.
func TestUnchanged(t *testing.T) {
	got := unchanged(strings.NewReader(smaps), "/opt/a program")
	if len(got) != 1 || got[0] != (mapping{0x400000, 0x1570000, 11740}) {
		t.Errorf("got %+v", got)
	}
	if got := unchanged(strings.NewReader(strings.Repeat("x", 1<<17)), "/opt/a program"); got != nil {
		t.Errorf("of a line without end: %+v", got)
	}
}

func resident(t *testing.T) (kib uint64) {
	t.Helper()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for _, m := range unchanged(f, self) {
		kib += m.resident
	}
	return kib
}

// TestStartupIsForgotten: the pages of this program leave memory, and it goes on.
func TestStartupIsForgotten(t *testing.T) {
	before := resident(t)
	forgetStartup()
	if after := resident(t); after >= before {
		t.Errorf("%d KiB of the program were in memory, now %d", before, after)
	}
}
