#!/bin/sh
# daemon.sh RULES CLIENT INNOCENT: run the real fapolicyd with RULES in a mount namespace of its own, over a file system of its own, and say
# which of the programs it lets run. Nothing of the machine is marked: only mounts of type ramfs are watched, and there are two.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/etc" "$dir/etc/rules.d" "$dir/etc/trust.d" "$dir/var" "$dir/run" "$dir/files"
cp "$1" "$dir/etc/rules.d/25-chaperone.rules"
echo 'allow perm=any all : all' >"$dir/etc/rules.d/99-rest.rules"
: >"$dir/etc/fapolicyd.trust"
cat >"$dir/etc/fapolicyd.conf" <<EOF
permissive = 0
nice_val = 0
q_size = 640
uid = root
gid = root
do_stat_report = 0
detailed_report = 0
db_max_size = 10
subj_cache_size = 1549
obj_cache_size = 8191
watch_fs = ramfs
trust = file
integrity = none
syslog_format = rule,dec,perm,uid,pid,exe,:,path,ftype,trust,sha256hash
rpm_sha256_only = 0
allow_filesystem_mark = 0
EOF
mkdir -p /var/lib/fapolicyd /run/fapolicyd
mount --bind "$dir/etc" /etc/fapolicyd
mount --bind "$dir/var" /var/lib/fapolicyd
mount --bind "$dir/run" /run/fapolicyd
mount -t ramfs ramfs "$dir/files"
cp "$2" "$dir/files/holiday.jpg"
cp "$3" "$dir/files/innocent"
chmod 755 "$dir/files/"*
mount -t ramfs ramfs /opt # in this namespace alone; where the vendor's package has its program, with the link that the package brings
mkdir /opt/zoom /opt/neighbour
cp "$3" /opt/zoom/ZoomLauncher
cp "$3" /opt/neighbour/ZoomLauncher
ln -s /opt/zoom/ZoomLauncher "$dir/files/zoom"
fagenrules --load >/dev/null 2>&1 || true
timeout 300 fapolicyd --debug-deny >"$dir/log" 2>&1 &
tries=0
until grep -q 'Starting to listen' "$dir/log"; do
  tries=$((tries + 1))
  if [ $tries -gt 1200 ]; then
    cat "$dir/log"
    exit 3
  fi
  sleep 0.1
done
sed -n 's/^Loading rule file:/loaded/p; s/^Loaded /loaded /p' "$dir/log"
grep -i 'error\|invalid\|unknown' "$dir/log" | grep -iv 'open_dbi' || true
"$dir/files/innocent" && echo 'innocent runs'
"$dir/files/holiday.jpg" 2>/dev/null && echo 'client runs' || echo 'client denied'
/opt/neighbour/ZoomLauncher && echo 'neighbour runs'
/opt/zoom/ZoomLauncher 2>/dev/null && echo 'installed runs' || echo 'installed denied'
"$dir/files/zoom" 2>/dev/null && echo 'link runs' || echo 'link denied'
kill $!
wait || true
grep '^rule=' "$dir/log"
umount "$dir/files" /opt
