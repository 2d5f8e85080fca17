package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Addresses on the wire are those of documentation (RFC 5737): whole networks are local on each side.
const (
	clientAddr = "198.51.100.7"
	serverAddr = "203.0.113.10"
	nameServer = "203.0.113.53"
)

// wire is two network namespaces with nothing but each other, and the programs in them.
type wire struct {
	ctx            context.Context
	dir            string
	programs       string // folder of what was fetched
	self           string
	client, server string // names of the namespaces
	running        []*exec.Cmd
	log            *os.File
}

// newWire makes the namespaces, of which nothing leads out.
func newWire(ctx context.Context) (*wire, error) {
	dir, err := os.MkdirTemp("", "traffic-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // for servers that leave root
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	w := &wire{ctx: ctx, dir: dir, self: self, log: log, client: fmt.Sprintf("traffic-%d-c", os.Getpid()), server: fmt.Sprintf("traffic-%d-s", os.Getpid())}
	if err := w.lay(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *wire) lay() error {
	steps := []string{
		"ip netns add " + w.client, "ip netns add " + w.server,
		"ip link add v0 netns " + w.client + " address 02:00:00:00:00:01 type veth peer name v0 netns " + w.server + " address 02:00:00:00:00:02",
	}
	for _, side := range []struct{ name, addr, network string }{{w.client, clientAddr, "198.51.100.0/24"}, {w.server, serverAddr, "203.0.113.0/24"}} {
		in := "ip netns exec " + side.name + " "
		steps = append(steps,
			in+"sysctl -qw net.ipv6.conf.all.disable_ipv6=1", in+"sysctl -qw net.ipv4.ip_local_port_range=1100 65000", in+"sysctl -qw net.ipv4.ip_unprivileged_port_start=0",
			in+"sysctl -qw net.ipv4.tcp_tw_reuse=1", in+"sysctl -qw net.ipv4.tcp_fin_timeout=3",
			in+"ip link set lo up", in+"ip link set v0 up", in+"ethtool -K v0 tso off gso off gro off tx off", in+"ip addr add "+side.addr+"/32 dev v0",
			in+"ip route add default dev v0 src "+side.addr, in+"ip route add local "+side.network+" dev lo src "+side.addr)
		if err := os.MkdirAll("/etc/netns/"+side.name, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile("/etc/netns/"+side.name+"/resolv.conf", []byte("nameserver "+nameServer+"\n"), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile("/etc/netns/"+side.name+"/hosts", []byte("127.0.0.1 localhost\n127.0.0.1 desk.example desk\n"), 0o644); err != nil {
			return err
		}
	}
	for _, s := range steps {
		args := strings.Fields(s)
		if i := strings.Index(s, "port_range="); i >= 0 {
			args = append(strings.Fields(s[:i]), s[i:])
			args[len(args)-2] += args[len(args)-1]
			args = args[:len(args)-1]
		}
		if out, err := exec.CommandContext(w.ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", s, err, out)
		}
	}
	return nil
}

// command is a program on one side, with another machine's name and an empty home.
func (w *wire) command(side string, args ...string) *exec.Cmd {
	script := `hostname desk.example; cd "$HOME"; exec "$@"`
	c := exec.CommandContext(w.ctx, "ip", append([]string{"netns", "exec", side, "unshare", "--uts", "sh", "-c", script, "sh"}, args...)...)
	home := filepath.Join(w.dir, side)
	_ = os.MkdirAll(home, 0o755)
	c.Env = []string{"HOME=" + home, "USER=alice", "LOGNAME=alice", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin", "LANG=C.UTF-8",
		"TERM=xterm", "QT_QPA_PLATFORM=offscreen", "XDG_RUNTIME_DIR=" + home, "SSL_CERT_FILE=" + w.path("cert.pem")}
	c.Stdout, c.Stderr = w.log, w.log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// start starts a program that runs until the wire is closed or halted.
func (w *wire) start(side string, args ...string) error {
	c := w.command(side, args...)
	if err := c.Start(); err != nil {
		return err
	}
	w.running = append(w.running, c)
	return nil
}

// do runs a program to its end, or for so long.
func (w *wire) do(limit time.Duration, side string, args ...string) error {
	c := w.command(side, args...)
	if err := c.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// halt ends the programs.
func (w *wire) halt() {
	for _, c := range w.running {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
	}
	for _, c := range w.running {
		timer := time.AfterFunc(3*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		_ = c.Wait()
		timer.Stop()
	}
	w.running = nil
}

func (w *wire) close() error {
	w.halt()
	var errs []error
	for _, name := range []string{w.client, w.server} {
		// What a program left running there ends with its namespace.
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-9", pid).Run()
		}
		errs = append(errs, exec.Command("ip", "netns", "del", name).Run(), os.RemoveAll("/etc/netns/"+name))
	}
	if os.Getenv("TRAFFIC_KEEP") == "" {
		errs = append(errs, os.RemoveAll(w.dir))
	} else {
		fmt.Fprintln(os.Stderr, "kept", w.dir)
	}
	return errors.Join(errs...)
}

// capture writes what passes on the wire until the returned function is called.
func (w *wire) capture(file, filter string, snap int) (func() error, error) {
	c := exec.Command("ip", "netns", "exec", w.client, "tcpdump", "-i", "v0", "-n", "-B", "65536", "-s", fmt.Sprint(snap), "-U", "-Z", "root", "-w", file, filter)
	said, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadAtLeast(said, make([]byte, 64), 20); err != nil {
		return nil, fmt.Errorf("tcpdump does not start: %w", err)
	}
	go io.Copy(w.log, said)
	return func() error {
		time.Sleep(300 * time.Millisecond) // the last packets
		_ = c.Process.Signal(syscall.SIGTERM)
		return c.Wait()
	}, nil
}

// path is a file of this run.
func (w *wire) path(name string) string { return filepath.Join(w.dir, name) }

func (w *wire) write(name, text string) (string, error) {
	path := w.path(name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// await waits until somebody listens on a TCP port of the server's side.
func (w *wire) await(port int) error {
	for range 100 {
		if err := exec.CommandContext(w.ctx, "ip", "netns", "exec", w.server, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", serverAddr, port)).Run(); err == nil {
			return nil
		}
		if err := w.rest(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("nobody listens on port %d", port)
}

func (w *wire) rest(d time.Duration) error {
	select {
	case <-w.ctx.Done():
		return w.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// certificate makes a certificate for the names, which programs here trust.
func (w *wire) certificate(names ...string) error {
	alt := "IP:" + serverAddr
	for _, n := range names {
		alt += ",DNS:" + n
	}
	out, err := exec.CommandContext(w.ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
		"-subj", "/CN="+names[0], "-addext", "subjectAltName="+alt, "-keyout", w.path("key.pem"), "-out", w.path("cert.pem")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl: %w: %s", err, out)
	}
	return os.Chmod(w.path("key.pem"), 0o644)
}

// names answers every question with an address of the server's side.
func (w *wire) names() error {
	return w.start(w.server, "dnsmasq", "-k", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--listen-address="+nameServer, "--bind-interfaces",
		"--dns-forward-max=5000", "--address=/#/"+serverAddr)
}
