#!/bin/bash
# machine.sh DEB NEWER: boot Debian 12 with its own kernel in an emulated machine, install the package by the guides, and try what the agent promises.
# On demand (make machine): it needs root, debootstrap, QEMU and a mirror of Debian, and takes a quarter of an hour. MACHINE_ROOT=DIR keeps the
# unpacked Debian there for the next time.
set -euo pipefail
DEB=$(realpath "${1:?usage: machine.sh DEB NEWER}")
NEWER=$(realpath "${2:?usage: machine.sh DEB NEWER}")
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d /var/tmp/chaperone-machine.XXXXXX)
ROOT=${MACHINE_ROOT:-$WORK/root}
QEMU= READER=
finish() {
  [ -z "$QEMU" ] || kill "$QEMU" 2>/dev/null || true
  [ -z "$READER" ] || kill "$READER" 2>/dev/null || true
  wait
  rm -rf "$WORK"
}
trap finish EXIT

# The machine: Debian as it comes, with one messenger of its own, a user, and a service that carries out what is told here.
if [ ! -e "$ROOT/done" ]; then
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,ca-certificates,linux-image-amd64,initramfs-tools,bsdutils,login,passwd,procps,curl,irssi \
    bookworm "$ROOT" >"$WORK/debootstrap.log" || { tail "$WORK/debootstrap.log" >&2; exit 1; }
  cp "$ROOT"/var/cache/apt/archives/irssi_*.deb "$ROOT/root/irssi.deb"
  rm -f "$ROOT"/var/cache/apt/archives/*.deb
  chroot "$ROOT" useradd -m -s /bin/bash -u 1000 alice
  touch "$ROOT/done"
fi
echo desk >"$ROOT/etc/hostname"
echo "127.0.0.1 localhost desk chaperone.example.org" >"$ROOT/etc/hosts"
echo "/dev/vda / ext4 defaults 0 1" >"$ROOT/etc/fstab"
install -m 755 "$HERE/machine/control" "$ROOT/usr/local/sbin/control"
install -m 644 "$HERE/machine/control.service" "$ROOT/etc/systemd/system/control.service"
ln -sf ../control.service "$ROOT/etc/systemd/system/multi-user.target.wants/control.service"
cp "$DEB" "$ROOT/root/chaperone.deb"
cp "$NEWER" "$ROOT/root/newer.deb"
truncate -s 3G "$WORK/disk"
mkfs.ext4 -q -F -d "$ROOT" "$WORK/disk"
cp "$ROOT"/boot/vmlinuz-* "$WORK/kernel"
cp "$ROOT"/boot/initrd.img-* "$WORK/initrd"

# A stick, with a program that nobody forbids and a messenger.
mkdir "$WORK/stick"
cp "$ROOT/bin/true" "$WORK/stick/game"
{ cat "$ROOT/usr/bin/irssi"; head -c 100 /dev/zero; } >"$WORK/stick/holiday.jpg"
chmod 755 "$WORK"/stick/*
truncate -s 64M "$WORK/stick.img"
mkfs.ext4 -q -F -L HOLIDAY -d "$WORK/stick" "$WORK/stick.img"

mkfifo "$WORK"/{control,monitor}.{in,out}
nice -n 10 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -nodefaults -display none -serial "file:$WORK/console" \
  -kernel "$WORK/kernel" -initrd "$WORK/initrd" -append "root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1 net.ifnames=0" \
  -drive "file=$WORK/disk,format=raw,if=virtio,cache=unsafe" -device qemu-xhci -device virtio-serial \
  -chardev "pipe,id=control,path=$WORK/control" -device virtserialport,chardev=control,name=control \
  -chardev "pipe,id=monitor,path=$WORK/monitor" -mon chardev=monitor,mode=readline &
QEMU=$!
exec 3<>"$WORK/control.in" 4<>"$WORK/control.out" 5<>"$WORK/monitor.in" 6<>"$WORK/monitor.out"
cat <&6 >"$WORK/monitor.log" &
READER=$!

lost() {
  tail -n 30 "$WORK/console" >&2
  echo "machine: $1" >&2
  exit 1
}
up() { # waits until the machine is there
  local word
  read -r -d '' -t 900 word <&4 && [[ $word == up* ]] || lost "it does not come up"
}
guest() { # carries out standard input in the machine
  local answer
  { cat; printf '\0'; } >&3
  IFS= read -r -d '' -t 1800 answer <&4 || lost "no answer"
  printf '%s\n' "${answer#* }"
  return "${answer%% *}"
}
step() { # NAME, and what is done on standard input
  echo "== $1"
  { cat "$HERE/machine/words.sh"; cat; } | guest >"$WORK/out" || { tail -n 60 "$WORK/out"; lost "$1: it is not so"; }
  grep '^: ' "$WORK/out" || true
}
monitor() { echo "$1" >&5; }
. "$HERE/machine/steps.sh"
echo "machine: all of it is so."
