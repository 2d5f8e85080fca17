package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// liveTime is how long packets are sent as fast as this machine can.
const liveTime = 5 * time.Second

// live sends packets through a pair of interfaces in a network namespace of its own, at the highest rate that the sender reaches, and
// prints how many the program saw and how many the kernel had no room for.
func live(out io.Writer, binary string) error {
	runtime.LockOSThread() // the namespace is this thread's, and the child's that it starts
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace (it needs root): %w", err)
	}
	for _, args := range []string{"link add tap type veth peer name far", "link set tap up", "link set far up"} {
		if said, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, said)
		}
	}
	var lines bytes.Buffer
	cmd := exec.Command(binary, "inspect", "--json", "-i", "tap")
	cmd.Stdout, cmd.Stderr = &lines, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	sent, err := send("far", liveTime)
	time.Sleep(time.Second) // the last block is handed over
	cmd.Process.Signal(os.Interrupt)
	ended := cmd.Wait()
	var exit *exec.ExitError
	if err != nil || ended != nil && !errors.As(ended, &exit) {
		return errors.Join(err, ended)
	}
	seen, problems, err := tally(&lines)
	if err != nil {
		return err
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	fmt.Fprintf(out, "sent %.0f packets a second for %s; of %d, %d seen (%.2f %%), with %.2f µs of CPU each\n",
		float64(sent)/liveTime.Seconds(), liveTime, sent, seen, 100*float64(seen)/float64(sent), float64(cpu.Microseconds())/float64(seen))
	for _, p := range problems {
		fmt.Fprintln(out, "said:", p)
	}
	return nil
}

// tally adds the packets of all flows, but those of the kernel's own that every new interface brings.
func tally(lines io.Reader) (packets int64, problems []string, err error) {
	for d := json.NewDecoder(lines); ; {
		var line struct {
			Type, Reason, Client string
			Packets              int64
		}
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return packets, problems, nil
		} else if err != nil {
			return 0, nil, fmt.Errorf("read the lines: %w", err)
		}
		if line.Type == "error" {
			problems = append(problems, line.Reason)
		} else if strings.HasPrefix(line.Client, "10.") {
			packets += line.Packets
		}
	}
}

// batch is how many packets one system call sends.
const batch = 128

// message is struct mmsghdr (sendmmsg(2)).
type message struct {
	header unix.Msghdr
	sent   uint32
	_      uint32
}

// send sends for a time and returns how many packets were.
func send(name string, d time.Duration) (int64, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return 0, fmt.Errorf("bypass the queue: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	var messages [batch]message
	var vectors [batch]unix.Iovec
	for i := range messages {
		frame := flowtest.UDPFrame(end(10, i, 40000), server(i), make([]byte, 64))
		vectors[i].Base = &frame[0]
		vectors[i].SetLen(len(frame))
		messages[i].header.Iov = &vectors[i]
		messages[i].header.SetIovlen(1)
	}
	time.Sleep(time.Second) // the listener starts
	total, until := int64(0), time.Now().Add(d)
	for time.Now().Before(until) {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), batch, 0, 0, 0)
		if errno != 0 && errno != syscall.ENOBUFS && errno != syscall.EAGAIN {
			return total, fmt.Errorf("send: %w", errno)
		}
		if errno == 0 {
			total += int64(n)
		}
	}
	runtime.KeepAlive(&vectors)
	return total, nil
}
