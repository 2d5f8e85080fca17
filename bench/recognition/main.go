// Command recognition measures the CPU that recognising flows costs per packet, side by side with ndpiReader over the same packets.
//
//	go run ./bench/recognition FOLDER [BINARY]
//
// FOLDER holds captures; those of Ethernet are joined into one, several times over with the addresses of each round changed, so that
// both read one large file and start once. BINARY is chaperone (default: bin/chaperone). ndpiReader is Debian's libndpi-bin.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const rounds = 10

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: recognition FOLDER [BINARY]")
		os.Exit(2)
	}
	binaryPath := "bin/chaperone"
	if len(os.Args) > 2 {
		binaryPath = os.Args[2]
	}
	if err := run(os.Args[1], binaryPath); err != nil {
		fmt.Fprintln(os.Stderr, "recognition:", err)
		os.Exit(2)
	}
}

func run(folder, chaperone string) error {
	dir, err := os.MkdirTemp("", "recognition")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	joined := filepath.Join(dir, "joined.pcap")
	packets, size, err := join(folder, joined)
	if err != nil {
		return err
	}
	fmt.Printf("%d packets, %d MB, %d rounds of the captures in %s\n", packets, size>>20, rounds, folder)
	ours, err := measure(packets, chaperone, "inspect", "--json", joined)
	if err != nil {
		return err
	}
	theirs, err := measure(packets, "ndpiReader", "-i", joined, "-q", "-n", "1")
	if err != nil {
		return err
	}
	fmt.Printf("ratio %.2f (goal <= 1.0)\n", float64(ours)/float64(theirs))
	return nil
}

// measure runs a command three times and prints the best CPU time per packet.
func measure(packets int64, name string, args ...string) (time.Duration, error) {
	best := time.Duration(0)
	for range 3 {
		cmd := exec.Command(name, args...)
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) { // 1 is: policy forbids something found
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); best == 0 || cpu < best {
			best = cpu
		}
	}
	fmt.Printf("%-12s %8s CPU, %.3f µs/packet\n", filepath.Base(name), best.Round(time.Millisecond), float64(best.Microseconds())/float64(packets))
	return best, nil
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
