#!/bin/bash
# machine.sh [--keep DIR [--from STEP]] [DEB NEWER NEWEST]: boot Debian 12 with its own kernel in an emulated machine, install the package by the guides, and
# try what the agent promises. On demand (make machine): it needs root, debootstrap, QEMU and a mirror of Debian. Without packages it builds three.
#
# --keep DIR keeps Debian, the packages and the machine as it was after each of the last steps (3 GB, qemu-img), so that the next call is quicker, and
# can begin --from STEP with what the steps before it left.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
KEEP= FROM= DEB= NEWER= NEWEST=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --keep) KEEP=${2:?} ;;
    --from) FROM=${2:?} ;;
    *) echo "machine.sh: there is no $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ -z "$FROM" ] || [ -e "$KEEP/last" ] || { echo "machine.sh: --from needs --keep, and a run before" >&2; exit 2; }
[ $# = 0 ] || { DEB=$(realpath "$1"); NEWER=$(realpath "${2:?DEB, NEWER and NEWEST}") NEWEST=$(realpath "${3:?DEB, NEWER and NEWEST}"); }
WORK=$(mktemp -d /var/tmp/chaperone-machine.XXXXXX)
STORE=${KEEP:-$WORK}
mkdir -p "$STORE"
QEMU= READER= LAST=
finish() {
  [ -z "$QEMU" ] || kill "$QEMU" 2>/dev/null || true
  [ -z "$READER" ] || kill "$READER" 2>/dev/null || true
  wait
  rm -rf "$WORK"
}
trap finish EXIT
lost() {
  [ ! -e "$WORK/console" ] || tail -n 30 "$WORK/console" >&2
  echo "machine: $1" >&2
  exit 1
}
passed() { # NAME SINCE TITLE
  printf 'ok %5d s  %-10s %s\n' $((SECONDS - $2)) "$1" "$3"
}

build() { # three versions, for the upgrade and the update
  local begun=$SECONDS
  for version in 0.0.1 0.0.2 0.0.3; do
    "$HERE/package.sh" $version >"$WORK/build.log" 2>&1 || { tail "$WORK/build.log" >&2; lost "the packages cannot be built"; }
    mv "$HERE/../dist/chaperone_${version}_amd64.deb" "$STORE"
    rm -f "$HERE"/../dist/chaperone-$version-1.*.rpm
  done
  DEB=$STORE/chaperone_0.0.1_amd64.deb NEWER=$STORE/chaperone_0.0.2_amd64.deb NEWEST=$STORE/chaperone_0.0.3_amd64.deb
  passed build $begun "three versions of the package"
}

debian() { # as it comes, with one messenger of its own, a user, and a service that carries out what is told here
  local root=$STORE/root begun=$SECONDS
  if [ ! -e "$root/done" ]; then
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,ca-certificates,linux-image-amd64,initramfs-tools,bsdutils,login,passwd,procps,curl,irssi \
      bookworm "$root" >"$WORK/debootstrap.log" || { tail "$WORK/debootstrap.log" >&2; lost "there is no Debian"; }
    rm -f "$root"/var/cache/apt/archives/*.deb
    chroot "$root" useradd -m -s /bin/bash -u 1000 alice
    touch "$root/done"
  fi
  echo desk >"$root/etc/hostname"
  echo "127.0.0.1 localhost desk chaperone.example.org" >"$root/etc/hosts"
  echo "/dev/vda / ext4 defaults 0 1" >"$root/etc/fstab"
  install -m 755 "$HERE/machine/control" "$root/usr/local/sbin/control"
  install -m 644 "$HERE/machine/control.service" "$root/etc/systemd/system/control.service"
  ln -sf ../control.service "$root/etc/systemd/system/multi-user.target.wants/control.service"
  cp "$DEB" "$root/root/chaperone.deb"
  cp "$NEWER" "$root/root/newer.deb"
  cp "$NEWEST" "$root/root/newest.deb"
  rm -f "$STORE"/disk*
  truncate -s 3G "$STORE/disk"
  mkfs.ext4 -q -F -d "$root" "$STORE/disk"
  cp "$root"/boot/vmlinuz-* "$STORE/kernel"
  cp "$root"/boot/initrd.img-* "$STORE/initrd"
  [ -z "$KEEP" ] || qemu-img create -q -f qcow2 -b "$STORE/disk" -F raw "$STORE/disk.qcow2"
  # A stick, with a program that nobody forbids and a messenger.
  mkdir -p "$STORE/stick"
  cp "$root/bin/true" "$STORE/stick/game"
  { cat "$root/usr/bin/irssi"; head -c 100 /dev/zero; } >"$STORE/stick/holiday.jpg"
  chmod 755 "$STORE"/stick/*
  rm -f "$STORE/stick.img"
  truncate -s 64M "$STORE/stick.img"
  mkfs.ext4 -q -F -L HOLIDAY -d "$STORE/stick" "$STORE/stick.img"
  passed debian $begun "Debian 12 on a disk, and a stick"
}

switch_on() { # MORE...
  local disk="file=$STORE/disk,format=raw"
  [ -z "$KEEP" ] || disk="file=$STORE/disk.qcow2,format=qcow2"
  mkfifo "$WORK"/{control,monitor}.{in,out}
  # Its clock counts instructions, a thousand million a second: how busy this machine is changes no time in there.
  nice -n 5 qemu-system-x86_64 -accel tcg,thread=single -icount shift=0 -cpu max -m 1280 -nodefaults -display none -serial "file:$WORK/console" \
    -kernel "$STORE/kernel" -initrd "$STORE/initrd" -append "root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1 net.ifnames=0" \
    -drive "$disk,if=virtio,cache=unsafe" -device qemu-xhci -device virtio-serial \
    -chardev "pipe,id=control,path=$WORK/control" -device virtserialport,chardev=control,name=control \
    -chardev "pipe,id=monitor,path=$WORK/monitor" -mon chardev=monitor,mode=readline "$@" &
  QEMU=$!
  exec 3<>"$WORK/control.in" 4<>"$WORK/control.out" 5<>"$WORK/monitor.in" 6<>"$WORK/monitor.out"
  cat <&6 >"$WORK/monitor.log" &
  READER=$!
}
monitor() { echo "$1" >&5; }
up() { # waits until the machine is there
  local word
  read -r -d '' -t 3600 word <&4 && [[ $word == up* ]] || lost "it does not come up"
}
guest() { # carries out standard input in the machine
  local answer
  { cat; printf '\0'; } >&3
  IFS= read -r -d '' -t 7200 answer <&4 || lost "no answer"
  printf '%s\n' "${answer#* }"
  return "${answer%% *}"
}
step() { # NAME TITLE, and what is done on standard input; before_NAME and after_NAME are done out here
  local begun=$SECONDS text
  text=$(cat "$HERE/machine/words.sh" -)
  [ "$1" != "$FROM" ] || FROM=
  [ -z "$FROM" ] || return 0
  ! declare -F "before_$1" >/dev/null || "before_$1"
  guest <<<"$text" >"$WORK/out" || { tail -n 60 "$WORK/out"; lost "$1 ($((SECONDS - begun)) s): it is not so: $2"; }
  [ -z "$KEEP" ] || cp "$WORK/out" "$STORE/$1.out"
  ! declare -F "after_$1" >/dev/null || "after_$1"
  passed "$1" $begun "$2"
  sed -n 's/^: /                        /p' "$WORK/out"
  [ -z "$KEEP" ] || snapshot "$1"
}
snapshot() { # NAME: keeps it as it is now, and forgets what is three steps old
  monitor "savevm $1"
  echo "$1" >>"$STORE/last"
  local old
  old=$(tail -n 3 "$STORE/last" | head -n 1)
  [ "$(wc -l <"$STORE/last")" -lt 3 ] || [ "$old" = "$1" ] || monitor "delvm $old"
  guest <<<true >/dev/null # by then it goes on
}

if [ -z "$FROM" ]; then
  rm -f "$STORE/last"
  [ -n "$DEB" ] || build
  debian
  begun=$SECONDS
  switch_on
  up
  passed boot "$begun" "it is up"
  [ -z "$KEEP" ] || snapshot boot
else
  LAST=$(sed -n "/^step $FROM /q; s/^step \([a-z]*\) .*/\1/p" "$HERE/machine/steps.sh" | tail -n 1)
  switch_on -loadvm "${LAST:-boot}"
fi
. "$HERE/machine/steps.sh"
echo "machine: all of it is so, after $SECONDS s."
