#!/usr/bin/env bash
# peers.sh demo|test|bench|samples|innocent: install the real programs that the demo, the tests or the measurements talk to. Needs root and apt for what is missing.
set -euo pipefail
want=${1:?usage: peers.sh demo|test|bench|samples|innocent}
declare -A package=(
  [prosody]=prosody [clamd]=clamav-daemon [ip]=iproute2 [curl]=curl [dig]=dnsutils
)
if [[ $want == test ]]; then
  package+=([chromium]=chromium [firefox-esr]=firefox-esr [osslsigncode]=osslsigncode [wixl]=wixl [makensis]=nsis [7z]=p7zip-full
    [unbound]=unbound [python3]=python3 [dpkg-deb]=dpkg [gcc]=gcc [zip]=zip
    [rpmbuild]=rpm [mkfs.ext4]=e2fsprogs [setpriv]=util-linux [mount]=mount [fapolicyd]=fapolicyd [mksquashfs]=squashfs-tools [genisoimage]=genisoimage [qemu-system-x86_64]=qemu-system-x86)
fi
if [[ $want == bench ]]; then
  package+=([ndpiReader]=libndpi-bin [unbound]=unbound [dnsperf]=dnsperf [clamscan]=clamav [yara]=yara [sha256sum]=coreutils)
fi
if [[ $want == samples || $want == innocent ]]; then
  package+=([tcpdump]=tcpdump [ethtool]=ethtool [openssl]=openssl [dnsmasq]=dnsmasq-base [nginx]=nginx-light [chromium]=chromium)
fi
if [[ $want == samples ]]; then
  package+=([go-sendxmpp]=go-sendxmpp [ngircd]=ngircd [weechat-headless]=weechat-headless [sipp]=sip-tester [baresip]=baresip-core
    [gcc]=gcc [murmurd]=mumble-server [npm]=npm)
fi
if [[ $want == innocent ]]; then
  package+=([ab]=apache2-utils [h2load]=nghttp2-client [dnsperf]=dnsperf [stunnel4]=stunnel4 [smtp-sink]=postfix [swaks]=swaks [redis-server]=redis-server
    [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients [sshd]=openssh-server [rsync]=rsync [borg]=borgbackup [git]=git [smbd]=samba [smbclient]=smbclient
    [rsyslogd]=rsyslog [chronyd]=chrony [ntpdate]=ntpsec-ntpdate [snmpget]=snmp [snmpd]=snmpd [ffmpeg]=ffmpeg [aria2c]=aria2
    [transmission-create]=transmission-cli [ss-server]=shadowsocks-libev [turnserver]=coturn [openvpn]=openvpn)
  [[ -x /usr/lib/postgresql/15/bin/pgbench ]] || package+=([pgbench]=postgresql)
fi
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] || missing+=("${package[$program]}")
done
[[ $want != samples || -e /usr/include/tox/tox.h ]] || missing+=(libtoxcore-dev)
[[ $want != samples || -e /usr/lib/python3/dist-packages/nio ]] || missing+=(python3-matrix-nio)
# A kernel that takes security programs, for a machine that QEMU emulates: it is unpacked there, never installed.
kernel=/var/cache/chaperone-kernel
fetch_kernel() {
  [[ $want == test && ! -e $kernel/vmlinuz ]] || return 0
  local dir image
  image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
  dir=$(mktemp -d)
  (cd "$dir" && apt-get download -q -o Acquire::Retries=5 "$image" && dpkg-deb -x ./*.deb .) >&2 &&
    mkdir -p "$kernel" && cp "$dir"/lib/modules/*/kernel/fs/overlayfs/overlay.ko "$kernel" && cp "$dir"/boot/vmlinuz-* "$kernel/vmlinuz"
  local result=$?
  rm -rf "$dir"
  return $result
}
[[ ${#missing[@]} -eq 0 && ($want != test || -e $kernel/vmlinuz) ]] && exit 0
if [[ $(id -u) -ne 0 ]]; then
  echo "peers.sh: missing: ${missing[*]-}; run once as root: packaging/peers.sh $want" >&2
  [[ $want == demo ]] && exit 0
  exit 1
fi
echo "installing ${missing[*]-a kernel for tests}" >&2
# A package's own service must not start: the tests and the demo start each peer themselves, on ports of their own.
guard=/usr/sbin/policy-rc.d
if [[ ! -e $guard ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod 755 "$guard"
  trap 'rm -f "$guard"' EXIT
fi
# A network that fails for a moment is tried again, each file by apt and the whole by us.
for attempt in 1 2 3 4 5; do
  if apt-get update -q -o Acquire::Retries=5 >&2 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2 && fetch_kernel; then
    break
  elif [[ $attempt == 5 ]]; then
    echo "peers.sh: cannot install ${missing[*]}" >&2
    exit 1
  fi
  echo "peers.sh: attempt $attempt failed, and is made again" >&2
  sleep $((attempt * 10))
done
# Nor at the next boot: as installed, fapolicyd denies what its package database does not know.
if [[ " ${missing[*]} " == *" fapolicyd "* ]] && command -v systemctl >/dev/null; then
  systemctl disable fapolicyd >&2 || true
fi
