# The steps of machine.sh, in order. Each is what a guide says, and then a look at whether it is so.
up

step "install it, and begin as docs/guide/agent.md says" <<'SH'
dpkg -i /root/chaperone.deb
cd /root
cat >agent.yaml <<'EOF'
data_dir: /var/lib/chaperone-agent
policy: policy.yaml
agent: {mode: deny-list, removable: deny, secret: "file:/etc/chaperone/agent.secret"}
EOF
chaperone quickstart --data /var/lib/chaperone-agent firm | tee quickstart.txt
mkdir -p /etc/chaperone && cp firm/policy.yaml agent.yaml /etc/chaperone/
head -c 32 /dev/urandom | base64 >/etc/chaperone/agent.secret && chmod 600 /etc/chaperone/agent.secret
cp /usr/bin/irssi /home/alice/holiday.jpg && head -c 100 /dev/zero >>/home/alice/holiday.jpg && chown alice: /home/alice/holiday.jpg
cp /bin/true /home/alice/good && chown alice: /home/alice/good
alice './holiday.jpg --version'
chaperone agent --config /etc/chaperone/agent.yaml --mode monitor 2>monitor.log &
within 60 grep -q 'agent decides' monitor.log
alice './holiday.jpg --version'
kill %1
wait || true
sed -i 's/programs: monitor/programs: enforce/' /etc/chaperone/policy.yaml
systemctl enable --now chaperone-agent
warm
chaperone agent status
say "$(chaperone agent status | head -n 1)"
SH

step "a renamed and padded messenger does not start, and the person reads why" <<'SH'
denied './holiday.jpg --version'
alice ./good
on_terminal './holiday.jpg --version' | tee /tmp/terminal
grep -q 'holiday.jpg (irc) was not started' /tmp/terminal
grep -q 'This messenger is not approved' /tmp/terminal
say "$(grep -a 'was not started' /tmp/terminal | tail -n 1)"
SH

step "kill -9, SIGSTOP and an end of the worker open nothing" <<'SH'
worker() { pgrep -f '^/usr/bin/chaperone agent worker'; }
holder() { systemctl show -p MainPID --value chaperone-agent; }
was=$(holder)
alice ./good
for signal in KILL KILL STOP TERM; do
  kill -s $signal "$(worker)"
  for _ in 1 2 3; do denied './holiday.jpg --version'; alice ./good; done
done
within 60 worker
within 60 denied ./holiday.jpg
grep -q 'not permitted' /tmp/denied
[ "$(holder)" = "$was" ]
say "the holder is still process $was"
SH

step "a holder that is killed is started again" <<'SH'
was=$(systemctl show -p MainPID --value chaperone-agent)
kill -s KILL "$was"
within 120 chaperone agent status
warm # the new holder has to learn what the old one knew
denied './holiday.jpg --version'
now=$(systemctl show -p MainPID --value chaperone-agent)
[ "$now" != "$was" ]
say "process $was is process $now now"
SH

monitor "drive_add 0 if=none,id=stick,file=$WORK/stick.img,format=raw"
monitor "device_add usb-storage,drive=stick,id=plugged,serial=0815-4711"
step "a stick that is plugged in: its programs do not start, and it is on record which it is" <<'SH'
within 60 test -b /dev/sda
mkdir -p /media/stick
mount /dev/sda /media/stick
within 30 denied /media/stick/game
denied '/media/stick/holiday.jpg --version'
within 60 sh -c "journalctl -u chaperone-agent -o cat | grep -q 'medium scanned'"
journalctl -u chaperone-agent -o cat | grep 'removable medium' | tee /tmp/medium
grep -q '0815-4711' /tmp/medium
grep -q 'QEMU' /tmp/medium
say "$(cat /tmp/medium)"
journalctl -u chaperone-agent -o cat | grep 'medium scanned' | grep 'findings=[1-9]'
on_terminal /media/stick/game | tee /tmp/terminal
grep -q 'Programs on removable media do not run' /tmp/terminal
umount /media/stick
SH

step "each part of harden is applied, and taken back exactly" <<'SH'
h() { chaperone agent harden --config /etc/chaperone/agent.yaml "$@"; }
chaperone agent harden
find /etc /proc/sys/user/max_user_namespaces -xdev -type f -exec sha256sum {} + | grep -v chaperone >/tmp/before
cat >/var/tmp/memory.pl <<'EOF'
my $fd = syscall(319, my $name = "client", 0); open(my $m, ">&=", $fd); open(my $f, "<", "/home/alice/holiday.jpg"); binmode $_ for $m, $f;
local $/ = \65536; while (my $part = <$f>) { print $m $part } $m->flush; exec "/proc/$$/fd/$fd", "--version"; exit 9;
EOF
cat >/tmp/space.sh <<'EOF'
unshare -Urm sh -c "mount -t tmpfs none /mnt && cp /home/alice/holiday.jpg /mnt/client && /mnt/client --version"
EOF
alice 'perl /var/tmp/memory.pl' | grep irssi
alice 'sh /tmp/space.sh' | grep irssi
say "without it both ways are open"
h --apply programs --yes
! alice 'perl /var/tmp/memory.pl'
! alice 'sh /tmp/space.sh'
unshare -Urm true
on_terminal 'perl /var/tmp/memory.pl' | tee /tmp/terminal
grep -q 'Programs do not run from memory' /tmp/terminal
say "$(grep -a 'was not started' /tmp/terminal | tail -n 1)"
kill -s KILL "$(pgrep -f '^/usr/bin/chaperone agent worker')" "$(systemctl show -p MainPID --value chaperone-agent)"
! alice 'perl /var/tmp/memory.pl'
within 120 chaperone agent status
warm
h --undo programs --yes
alice 'perl /var/tmp/memory.pl' | grep irssi
h --apply namespaces,media --yes
! alice 'sh /tmp/space.sh'
udevadm verify /etc/udev/rules.d/99-chaperone-noexec.rules || true
h --undo namespaces,media --yes
find /etc /proc/sys/user/max_user_namespaces -xdev -type f -exec sha256sum {} + | grep -v chaperone >/tmp/after
diff /tmp/before /tmp/after
! h --apply memfd 2>/tmp/absent
grep -q 'does not have' /tmp/absent
h --apply programs --yes
chaperone doctor --config /etc/chaperone/agent.yaml | tee /tmp/doctor || true
grep -q 'BPF LSM' /tmp/doctor
SH

step "scan finds it; --quarantine and restore, --remove and its undo are exact" <<'SH'
look() { stat -c '%n %s %a %u %g %Y' "$1"; sha256sum "$1"; }
look /home/alice/holiday.jpg >/tmp/was
scan() { chaperone scan --config /etc/chaperone/agent.yaml "$@" || [ $? = 1 ]; }
scan --remove /home/alice | tee /tmp/scan
grep -q 'left alone by --remove' /tmp/scan
test -e /home/alice/holiday.jpg
scan --quarantine /home/alice
! test -e /home/alice/holiday.jpg
id=$(chaperone quarantine list --json --config /etc/chaperone/agent.yaml | sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | head -n 1)
chaperone quarantine restore --config /etc/chaperone/agent.yaml "$id"
look /home/alice/holiday.jpg | diff /tmp/was -
dpkg -V irssi
scan --remove /usr/bin | tee /tmp/scan
! dpkg -s irssi 2>/dev/null | grep -q 'install ok installed'
grep -q 'undo: apt-get install irssi=' /tmp/scan
dpkg -i /root/irssi.deb
dpkg -V irssi
say "the package went and came, the file too"
SH

echo "systemctl reboot" | guest >/dev/null
up
step "after the machine was started again it denies, before anybody signs in" <<'SH'
within 240 chaperone agent status
warm
denied './holiday.jpg --version'
within 60 test -e /sys/fs/bpf/chaperone/exec-1/link
! alice 'perl /var/tmp/memory.pl'
systemctl show -p ActiveEnterTimestampMonotonic --value chaperone-agent systemd-user-sessions | tee /tmp/order
say "the agent: $(systemctl is-active chaperone-agent)"
SH

step "an upgrade changes the worker and nothing else" <<'SH'
was=$(systemctl show -p MainPID --value chaperone-agent)
old=$(pgrep -of 'chaperone agent worker')
dpkg -i /root/newer.deb
[ "$(systemctl show -p MainPID --value chaperone-agent)" = "$was" ]
within 120 sh -c "! kill -0 $old"
within 120 chaperone agent status
denied './holiday.jpg --version'
chaperone version
SH

step "the package is removed: nothing is stopped any more, the record stays" <<'SH'
dpkg -r chaperone
alice './holiday.jpg --version'
! test -e /sys/fs/bpf/chaperone
test -d /var/lib/chaperone-agent/journal
! systemctl is-active chaperone-agent
SH
