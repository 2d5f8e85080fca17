// Command recognition measures what recognising flows costs, side by side with ndpiReader over the same packets, and what it keeps in memory.
//
//	go run ./bench/recognition FOLDER [BINARY]         CPU per packet, start-up, one flow in bulk
//	go run ./bench/recognition memory [BINARY [N]]     peak memory of live flows and of floods; N instead of each profile's own number, or
//	                                                   the name of one profile
//	go run ./bench/recognition live [BINARY]           an interface at the highest rate that the sender reaches; as root
//	go run ./bench/recognition write PROFILE [N]       the traffic of one profile, to standard output
//
// FOLDER holds captures. Each program reads all of them in one process, in turn, and what it needs to start is taken off; then those of
// Ethernet joined into one, several times over with the addresses of each round changed. BINARY is chaperone (default: bin/chaperone).
// ndpiReader is Debian's libndpi-bin. All is CPU time with GOMAXPROCS=1, medians of rounds.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// rounds is how often the captures are in the joined one.
const rounds = 10

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "recognition:", err)
		os.Exit(2)
	}
}

var errUsage = errors.New("usage: recognition FOLDER [BINARY] | memory [BINARY [N|PROFILE]] | live [BINARY] | write PROFILE [N]")

func command(args []string) error {
	if len(args) == 0 || len(args) > 3 {
		return errUsage
	}
	binaryPath, n := "bin/chaperone", 0
	if len(args) > 1 && args[0] != "write" {
		binaryPath = args[1]
	}
	chosen := profiles()
	if len(args) == 3 {
		i := slices.IndexFunc(chosen, func(p profile) bool { return p.name == args[2] })
		var err error
		if n, err = strconv.Atoi(args[2]); i >= 0 && args[0] == "memory" {
			chosen, n = chosen[i:i+1], 0
		} else if err != nil || n < 1 {
			return errUsage
		}
	}
	switch args[0] {
	case "memory":
		return memory(os.Stdout, binaryPath, chosen, n)
	case "live":
		return live(os.Stdout, binaryPath)
	case "write":
		if len(args) < 2 {
			return errUsage
		}
		i := slices.IndexFunc(profiles(), func(p profile) bool { return p.name == args[1] })
		if i < 0 {
			return fmt.Errorf("no profile %s", args[1])
		}
		_, err := generate(os.Stdout, profiles()[i], n)
		return err
	}
	return speed(os.Stdout, args[0], binaryPath)
}

type reader interface {
	LinkType() layers.LinkType
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

func open(f *os.File) (reader, error) {
	if r, err := pcapgo.NewReader(f); err == nil {
		r.SetSnaplen(1 << 20)
		return r, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
}

// join writes the packets of all Ethernet captures to one file, a second apart from capture to capture.
func join(folder, path string) (packets, size int64, err error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.*cap*"))
	if err != nil {
		return 0, 0, err
	}
	out, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer out.Close()
	w := pcapgo.NewWriter(out)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		return 0, 0, err
	}
	now := time.Unix(1700000000, 0)
	for round := range rounds {
		for _, name := range names {
			n, err := add(w, name, &now, uint32(round))
			if err != nil {
				return 0, 0, err
			}
			packets += n
		}
	}
	info, err := out.Stat()
	if err != nil {
		return 0, 0, err
	}
	return packets, info.Size(), nil
}

func add(w *pcapgo.Writer, name string, now *time.Time, round uint32) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil || r.LinkType() != layers.LinkTypeEthernet {
		return 0, nil
	}
	var n int64
	for {
		data, info, err := r.ReadPacketData()
		if err != nil {
			return n, nil
		}
		if len(data) > 34 && data[12] == 8 && data[13] == 0 { // the same flows, between other addresses
			for _, at := range []int{26, 30} {
				binary.BigEndian.PutUint32(data[at:], binary.BigEndian.Uint32(data[at:])^round<<16)
			}
		}
		*now = now.Add(100 * time.Microsecond)
		info.Timestamp = *now
		if err := w.WritePacket(info, data); err != nil {
			return n, err
		}
		n++
	}
}

// count returns the packets of a capture, up to where it is damaged.
func count(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil {
		return 0, nil
	}
	for n := int64(0); ; n++ {
		if _, _, err := r.ReadPacketData(); err != nil {
			return n, nil
		}
	}
}
