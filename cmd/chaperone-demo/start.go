package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startLimit ends the scene whatever happens: then the kernel lets everything through.
const startLimit = 5 * time.Minute

// startScript is played in a mount namespace of its own. The agent is told to watch nothing but two file systems that are made here; which of
// them is a stick, a made-up sysfs says.
const startScript = `set -eu
mkdir -p watched/disk watched/stick sys/dev/block sys/devices/usb1/stick/device
for name in disk stick; do
  truncate -s 32M $name.img
  mkfs.ext4 -q -F $name.img
  mount -o loop $name.img watched/$name
  cp /bin/true watched/$name/innocent
done
number=$(mountpoint -d watched/stick)
ln -s "$PWD/sys/devices/usb1/stick" "sys/dev/block/$number"
echo 1 >sys/devices/usb1/stick/removable
echo 'Demo stick' >sys/devices/usb1/stick/device/model
echo 4C530001 >sys/devices/usb1/stick/serial
cp /bin/true watched/disk/notes
printf '\0tdesktop-palette\0tg://login?token=\0' >>watched/disk/notes
chown 1000:1000 watched/disk/notes
timeout -s KILL 280 "$CHAPERONE" agent --only "$PWD/watched" --sysfs "$PWD/sys" --policy policy.yaml --data data --socket "$PWD/socket" >/dev/null 2>agent.log &
agent=$!
tries=0
until grep -q 'agent decides' agent.log; do
  tries=$((tries + 1))
  [ $tries -lt 1200 ] || { cat agent.log; exit 1; }
  sleep 0.1
done
for program in disk/innocent disk/notes stick/innocent; do
  said="not started"
  for try in 1 2 3; do # a machine with other things to do may not have looked at an innocent one in time
    if watched/$program 2>/dev/null; then said=started; break; fi
  done
  echo "$program: $said"
done
tries=0
until grep -q removable-media data/agent/spool/spool.jsonl 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || break
  sleep 0.1
done
kill -9 $(pgrep -f -- "agent worker .*$PWD/watched")
if watched/disk/notes 2>/dev/null; then echo "the worker is killed: disk/notes: started"; else echo "the worker is killed: disk/notes: not started"; fi
"$CHAPERONE" agent status --socket "$PWD/socket" | head -1
tr ',' '\n' <data/agent/spool/spool.jsonl | grep -o '"rule":"[a-z-]*"\|"app":"[a-z]*"\|"serial":"[^"]*"' | grep -v '""' | sort -u | tr '\n' ' '
kill $agent
wait
`

// start shows a renamed client, and a program on a stick, that do not start.
func (s *stage) start() error {
	if !s.root {
		s.leaveOut("it needs root, for fanotify")
		return nil
	}
	dir := filepath.Join(s.dir, "start")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	policy := "version: 1\nmode: enforce\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block, say: \"Please use the firm's own chat.\"}\notherwise: {programs: allow}\n"
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(policy), 0o600); err != nil {
		return err
	}
	s.say("In a mount namespace: a disk with a Telegram that was made here and is called notes, and a stick. chaperone agent watches both, and nothing of this machine.")
	ctx, cancel := context.WithTimeout(s.ctx, startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", startScript)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CHAPERONE="+s.bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	s.show(string(out))
	if err != nil && !strings.Contains(err.Error(), "WaitDelay") {
		return err
	}
	for _, want := range []string{"disk/innocent: started", "disk/notes: not started", "stick/innocent: not started", "the worker is killed: disk/notes: not started",
		"telegram", "no-messengers", "removable-media", "4C530001"} {
		if !strings.Contains(string(out), want) {
			return fmt.Errorf("the scene does not say %q", want)
		}
	}
	return nil
}
