# The steps of machine.sh, in order. Each is what a guide says, and then a look at whether it is so.

step server "docs/guide/operate.md and start.md: the server, its own doctor, and somebody who may read" <<'SH'
dpkg -i /root/chaperone.deb
cd /root
chaperone quickstart --data /var/lib/chaperone /etc/chaperone
chown -R chaperone:chaperone /var/lib/chaperone
echo 'fleet: {listen: "0.0.0.0:8444"}' >>/etc/chaperone/chaperone.yaml
systemctl enable --now chaperone
within 120 curl -sf http://127.0.0.1:9464/livez
chaperone doctor --config /etc/chaperone/chaperone.yaml >/tmp/doctor || [ $? = 1 ]
cat /tmp/doctor
grep -q checkpoints /tmp/doctor # nobody outside has any yet, as start.md says
link=$(chaperone account link --config /etc/chaperone/chaperone.yaml reviewer)
curl -sfk -c cookies -X POST -d '' "$link"
curl -sfk -b cookies -d 'password=correct horse battery&again=correct horse battery' https://127.0.0.1:8443/settings/password >/tmp/page
grep -q 'new password holds' /tmp/page
echo 'correct horse battery' >password.txt
SH

step agent "docs/guide/agent.md: look first, then decide" <<'SH'
cd /root
cat >agent.yaml <<'END'
data_dir: /var/lib/chaperone-agent
policy: policy.yaml
agent: {mode: deny-list, removable: deny, secret: "file:/etc/chaperone/agent.secret"}
END
chaperone quickstart --data /var/lib/chaperone-agent firm
mkdir -p /etc/chaperone && cp firm/policy.yaml agent.yaml /etc/chaperone/
head -c 32 /dev/urandom | base64 >/etc/chaperone/agent.secret && chmod 600 /etc/chaperone/agent.secret
for name in holiday party press; do
  cp /usr/bin/irssi /home/alice/$name.jpg
  head -c 100 /dev/zero >>/home/alice/$name.jpg
  echo $name >>/home/alice/$name.jpg
done
cp /bin/true /home/alice/good
chown alice: /home/alice/*
alice './holiday.jpg --version'
chaperone agent --config /etc/chaperone/agent.yaml --mode monitor 2>monitor.log &
within 240 grep -q 'agent decides' monitor.log
alice './holiday.jpg --version'
kill %1
wait || true
sed -i 's/programs: monitor/programs: enforce/' /etc/chaperone/policy.yaml
systemctl reload chaperone
systemctl enable --now chaperone-agent
warm
chaperone agent status
say "$(chaperone agent status | head -n 1)"
SH

step fleet "docs/guide/fleet.md: the machine joins a fleet" <<'SH'
code=$(fleet enroll-code --uses 1 --for 1h --comment desk)
not chaperone fleet enroll --server chaperone.example.org:8444 --wait 1s "$code" >/tmp/enroll 2>&1
cat /tmp/enroll
mark=$(grep -o '[0-9a-f]\{4\}\(-[0-9a-f]\{4\}\)\{7\}' /tmp/enroll | head -n 1)
fleet pending | grep "$mark"
fleet approve "$mark"
chaperone fleet enroll --server chaperone.example.org:8444 "$code"
sed -i 's|mode: deny-list,|mode: deny-list, server: "https://chaperone.example.org:8444",|' /etc/chaperone/agent.yaml
systemctl enable --now chaperone-fleet
systemctl restart chaperone-agent
within 120 chaperone agent status
warm
connected() { fleet hosts | grep -q 'desk.*0\.0\.1'; }
within 120 connected
say "$(fleet hosts | grep desk)"
SH

step doctor "docs/guide/doctor.md: what is open here is said" <<'SH'
chaperone doctor --config /etc/chaperone/agent.yaml | tee /tmp/doctor || true
grep -q 'execution control' /tmp/doctor
not grep '^fail' /tmp/doctor
SH

step denied "a renamed and padded messenger does not start, the person reads why, and it is on record" <<'SH'
denied './holiday.jpg --version'
alice ./good
on_terminal './holiday.jpg --version' | tee /tmp/terminal
grep -q 'holiday.jpg (irc) was not started' /tmp/terminal
grep -q 'This messenger is not approved' /tmp/terminal
say "$(grep -a 'was not started' /tmp/terminal | tail -n 1)"
within 120 recorded "rule:no-messengers" holiday.jpg
say "on record: $(head -n 1 /tmp/found | cut -c 1-150)"
SH

step worker "kill -9, SIGSTOP and an end of the worker open nothing" <<'SH'
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

step holder "a holder that is killed is started again" <<'SH'
was=$(holder)
kill -s KILL "$was"
begun=$SECONDS
within 120 chaperone agent status
within 120 denied './holiday.jpg --version'
say "process $was is process $(holder) now, it denies again within $((SECONDS - begun)) s"
[ "$(holder)" != "$was" ]
warm
SH

before_stick() {
  monitor "drive_add 0 if=none,id=stick,file=$STORE/stick.img,format=raw"
  monitor "device_add usb-storage,drive=stick,id=plugged,serial=0815-4711"
}
after_stick() { monitor "device_del plugged"; }
step stick "a stick that is plugged in: its programs do not start, and it is on record which it is" <<'SH'
within 60 test -b /dev/sda
mkdir -p /media/stick
mount /dev/sda /media/stick
within 30 denied /media/stick/game
denied '/media/stick/holiday.jpg --version'
log() { journalctl -u chaperone-agent -o cat; }
scanned() { log | grep 'medium scanned' | grep 'findings=[1-9]'; }
within 120 scanned
log | grep 'removable medium' | tail -n 1 | tee /tmp/medium
grep -q '0815-4711' /tmp/medium
grep -q 'QEMU' /tmp/medium
on_terminal /media/stick/game | tee /tmp/terminal
grep -q 'Programs on removable media do not run' /tmp/terminal
say "$(grep -a 'was not started' /tmp/terminal | tail -n 1)"
within 120 recorded 'kind:media host:desk "0815-4711"'
say "$(cut -c 1-150 /tmp/medium)"
say "on record: $(head -n 1 /tmp/found | cut -c 1-150)"
umount /media/stick
SH

step approval "request, approval, run; withdrawal, refusal" <<'SH'
denied './press.jpg --version'
alice 'chaperone agent request --reason "for the press" press.jpg' | tee /tmp/request
sum=$(grep -o '[0-9a-f]\{64\}' /tmp/request | head -n 1)
asked() { fleet approvals | grep "$sum" | grep -o '[0-9a-f]\{8\}-[0-9a-f-]\{27\}' | head -n 1 >/tmp/asked; test -s /tmp/asked; }
within 120 asked
denied './press.jpg --version'
fleet allow --request "$(cat /tmp/asked)" --for 1h | tee /tmp/granted
begun=$SECONDS
within 120 alice './press.jpg --version'
say "it runs within $((SECONDS - begun)) s of the approval"
denied './holiday.jpg --version'
fleet withdraw --reason over "$(grep -o '([0-9a-f]\{12\})' /tmp/granted | tr -d '()')"
begun=$SECONDS
within 120 denied './press.jpg --version'
say "it is refused within $((SECONDS - begun)) s of the withdrawal"
SH

step code "a code that is read out, without the server" <<'SH'
systemctl stop chaperone chaperone-fleet
denied './party.jpg --version'
sum=$(sha256sum /home/alice/party.jpg | cut -d ' ' -f 1)
code=$(chaperone agent code --secret file:/etc/chaperone/agent.secret --host desk --sha256 "$sum" --for 1h 2>/dev/null)
not alice 'chaperone agent request --code 0A4C1H-000000-000000 party.jpg'
alice "chaperone agent request --code $code party.jpg"
within 30 alice './party.jpg --version'
not alice "chaperone agent request --code $code party.jpg" # once
denied './holiday.jpg --version'
chaperone agent exceptions | grep "$sum"
chaperone agent exceptions --withdraw "$sum"
within 30 denied './party.jpg --version'
systemctl start chaperone chaperone-fleet
within 120 curl -sf http://127.0.0.1:9464/livez
within 120 recorded "kind:act program.except"
SH

step harden "each part of harden is applied, and taken back exactly" <<'SH'
h() { chaperone agent harden --config /etc/chaperone/agent.yaml "$@"; }
chaperone agent harden
state() {
  find /etc -xdev -path /etc/chaperone -prune -o ! -type d -printf '%p %y %s %m %U %G %T@ %l\n' | sort
  find /etc -xdev -path /etc/chaperone -prune -o -type f -exec sha256sum {} + | sort
  cat /proc/sys/user/max_user_namespaces
}
state >/tmp/before
cat >/var/tmp/memory.pl <<'END'
my $fd = syscall(319, my $name = "client", 0); open(my $m, ">&=", $fd); open(my $f, "<", "/home/alice/holiday.jpg"); binmode $_ for $m, $f;
local $/ = \65536; while (my $part = <$f>) { print $m $part } $m->flush; exec "/proc/$$/fd/$fd", "--version"; sleep 10 if @ARGV; exit 9;
END
cat >/tmp/space.sh <<'END'
unshare -Urm sh -c "mount -t tmpfs none /mnt && cp /home/alice/holiday.jpg /mnt/client && /mnt/client --version"
END
alice 'perl /var/tmp/memory.pl' | grep irssi
alice 'sh /tmp/space.sh' | grep irssi
say "without it both ways are open"
h --apply programs --yes
not alice 'perl /var/tmp/memory.pl'
not alice 'sh /tmp/space.sh'
unshare -Urm true
on_terminal 'perl /var/tmp/memory.pl stay' | tee /tmp/terminal # whoever is gone at once is told nothing there
grep -q 'Programs do not run from memory' /tmp/terminal
say "$(grep -a 'was not started' /tmp/terminal | tail -n 1)"
kill -s KILL "$(worker)" "$(holder)"
not alice 'perl /var/tmp/memory.pl'
within 120 chaperone agent status
warm
h --undo programs --yes
alice 'perl /var/tmp/memory.pl' | grep irssi
h --apply namespaces,media --yes
not alice 'sh /tmp/space.sh'
udevadm verify /etc/udev/rules.d/99-chaperone-noexec.rules || true
h --undo namespaces,media --yes
state >/tmp/after
diff /tmp/before /tmp/after
say "$(wc -l </tmp/after) lines of names, modes, owners, times and hashes below /etc are equal"
not h --apply memfd 2>/tmp/absent
grep -q 'does not have' /tmp/absent
h --apply programs --yes
chaperone doctor --config /etc/chaperone/agent.yaml | tee /tmp/doctor || true
grep -q 'BPF LSM' /tmp/doctor
SH

step scan "scan; quarantine and restore, --remove of a package and its undo are exact" <<'SH'
scan() { chaperone scan --config /etc/chaperone/agent.yaml "$@" || [ $? = 1 ]; }
look /home/alice/holiday.jpg >/tmp/was
scan --remove /home/alice/holiday.jpg | tee /tmp/scan
grep -q 'left alone by --remove' /tmp/scan
look /home/alice/holiday.jpg | diff /tmp/was -
scan --quarantine /home/alice/holiday.jpg
not test -e /home/alice/holiday.jpg
id=$(chaperone quarantine list --json --config /etc/chaperone/agent.yaml | sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | head -n 1)
chaperone quarantine restore --config /etc/chaperone/agent.yaml "$id"
look /home/alice/holiday.jpg | diff /tmp/was -
say "the file came back: bytes, mode, owner, time"
echo '# changed here' >>/etc/irssi.conf
mapfile -t files < <(dpkg -L irssi | while read -r f; do [ -d "$f" ] || echo "$f"; done | sort)
package() { look "${files[@]}" | sed 's/\(:[0-9][0-9]\)\.[0-9]\{9\} /\1 /'; dpkg-query -W irssi; } # packages hold whole seconds
package >/tmp/was
scan --remove /usr/bin/irssi | tee /tmp/scan
not grep -q 'install ok installed' <<<"$(dpkg -s irssi 2>&1)"
not test -e /usr/bin/irssi
undo=$(sed -n 's/.*undo: \(dpkg --install [^ )]*\).*/\1/p' /tmp/scan | head -n 1)
$undo
package >/tmp/now
diff /tmp/was /tmp/now
say "the package went and came by '$undo': $(wc -l </tmp/was) lines of names, modes, owners, times and hashes are equal"
within 120 recorded "kind:act irssi"
SH

step upgrade "an upgrade while a messenger is tried all the time: none starts, and everything runs the new program" <<'SH'
was=$(holder) old=$(worker) client=$(main chaperone-fleet) server=$(main chaperone)
trying
begun=$SECONDS
dpkg -i /root/newer.deb
say "dpkg took $((SECONDS - begun)) s"
chaperone version | grep -F 0.0.2
replaced() { ! kill -0 "$old" && anew "$(worker)"; }
within 120 replaced
within 120 chaperone agent status
sleep 5
tried
[ "$(holder)" = "$was" ]
[ "$(main chaperone-fleet)" != "$client" ]
anew "$(main chaperone-fleet)"
[ "$(main chaperone)" != "$server" ]
anew "$(main chaperone)"
within 120 curl -sf http://127.0.0.1:9464/livez
connected() { fleet hosts | grep -q 'desk.*0\.0\.2'; }
within 120 connected
denied './holiday.jpg --version'
say "$(fleet hosts | grep desk)"
SH

step update "docs/guide/fleet.md: a signed release installs itself; one that does not start is taken back, one of another key is refused" <<'SH'
cd /root
chaperone fleet release key -o release.key release.example.org >release.pub
chaperone fleet release key -o other.key other.example.org
sed -i "s|mode: deny-list,|mode: deny-list, update: {key: \"$(cat release.pub)\"},|" /etc/chaperone/agent.yaml
systemctl restart chaperone-fleet
was=$(holder) old=$(worker)
chaperone fleet release sign --key release.key newest.deb
takes() { fleet release plan --host desk newest.deb.note | grep '1 offered'; }
within 120 takes
trying
fleet release offer --host desk newest.deb.note newest.deb
stands() { fleet release status --machines | grep "desk $1"; }
within 400 stands '0\.0\.3: installed'
chaperone version | grep -F 0.0.3
not kill -0 "$old"
anew "$(worker)"
[ "$(holder)" = "$was" ]
anew "$(main chaperone-fleet)"
tried
denied './holiday.jpg --version'
say "$(fleet release status --machines | grep 'desk 0')"

package() { # VERSION PROGRAM: of what newest.deb is else
  [ -e parts ] || dpkg-deb -R newest.deb parts
  sed -i "s/^Version: .*/Version: $1/" parts/DEBIAN/control
  cp "$2" parts/usr/bin/chaperone
  dpkg-deb -Zgzip -z1 -b parts "$1.deb"
}
package 0.0.4 /bin/false
chaperone fleet release sign --key release.key 0.0.4.deb
trying
fleet release offer --host desk 0.0.4.deb.note 0.0.4.deb
within 400 stands '0\.0\.3: rolled back: the new program does not start'
within 240 chaperone agent status
anew "$(worker)"
tried
denied './holiday.jpg --version'
alice ./good
[ "$(holder)" = "$was" ]
chaperone version | grep -F 0.0.3
say "$(fleet release status --machines | grep 'desk 0.*rolled back')"

package 0.0.5 /usr/bin/chaperone
chaperone fleet release sign --key other.key 0.0.5.deb
fleet release offer --host desk 0.0.5.deb.note 0.0.5.deb
within 240 recorded "kind:act agent.update.refuse"
within 240 recorded "kind:act agent.update.install"
within 240 recorded "kind:act agent.update.rollback"
stands '0\.0\.3' | grep refused
chaperone version | grep -F 0.0.3
say "$(fleet release status --machines | grep 'desk 0.*refused')"
systemctl is-active chaperone chaperone-fleet chaperone-agent
SH

step before "a service of a user that starts at boot" <<'SH'
cat >/etc/systemd/system/cron.service <<'END'
[Service]
User=alice
Type=oneshot
ExecStart=/home/alice/holiday.jpg --version
[Install]
WantedBy=multi-user.target
END
systemctl enable cron.service
sync
SH
before_reboot() { guest <<<"systemctl reboot" >/dev/null; up; }
step reboot "after the machine was started again it denies, from the first program of a user on" <<'SH'
within 240 chaperone agent status
warm
not systemctl is-active cron
journalctl -b -u cron -o cat | tee /tmp/cron
grep -q 'not permitted' /tmp/cron
denied './holiday.jpg --version'
within 60 test -e /sys/fs/bpf/chaperone/exec-1/link
not alice 'perl /var/tmp/memory.pl'
at() { systemctl show -p "$2" --value "$1"; }
[ "$(at chaperone-agent ActiveEnterTimestampMonotonic)" -lt "$(at systemd-user-sessions InactiveExitTimestampMonotonic)" ]
systemctl is-active chaperone-agent chaperone-fleet chaperone
anew "$(holder)"
say "the agent decided $((($(at systemd-user-sessions InactiveExitTimestampMonotonic) - $(at chaperone-agent ActiveEnterTimestampMonotonic)) / 1000)) ms before anybody may sign in"
systemctl disable cron
rm /etc/systemd/system/cron.service
SH

step remove "the package is removed while the agent decides: no process is left, all starts, the record stays" <<'SH'
find /var/lib/chaperone*/journal -name '*.seg' | sort >/tmp/segments # the client's spool empties itself into the server's
test -s /tmp/segments
gone() {
  not pgrep -f '^/usr/bin/chaperone'
  not test -e /usr/bin/chaperone
  not test -e /sys/fs/bpf/chaperone
  not systemctl is-active chaperone-agent chaperone-fleet chaperone
  alice './holiday.jpg --version'
  alice ./good
  alice 'perl /var/tmp/memory.pl' | grep irssi
  while read -r f; do test -s "$f"; done </tmp/segments
  test -s /etc/chaperone/policy.yaml
}
dpkg -r chaperone
gone
dpkg -P chaperone
gone
SH

step killed "and while nobody decides: the worker stopped, and all of it killed" <<'SH'
gone() { not pgrep -f '^/usr/bin/chaperone'; not test -e /usr/bin/chaperone; alice './holiday.jpg --version'; alice ./good; }
again() {
  dpkg -i /root/newer.deb
  systemctl enable --now chaperone-agent
  within 120 chaperone agent status
  warm
  denied './holiday.jpg --version'
}
again
kill -s STOP "$(worker)"
dpkg -r chaperone
gone
again
systemctl kill -s KILL chaperone-agent
dpkg -P chaperone
gone
dpkg -i /root/newer.deb
chaperone verify /var/lib/chaperone
chaperone verify /var/lib/chaperone-agent
SH
