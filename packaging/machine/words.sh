# What the steps are written in. Each is a script of its own in the machine.
say() { echo ": $*"; }
alice() { su - alice -c "$1"; }
# on_terminal COMMAND: as alice, on a terminal of her own (su -c takes it away); what stands there afterwards.
on_terminal() { script -qec "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'cd /home/alice; $1; sleep 15'" /dev/null </dev/null || true; }
denied() { ! alice "$1" 2>/tmp/denied && grep -q 'not permitted\|denied' /tmp/denied; }
# within SECONDS COMMAND...
within() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/tmp/within 2>&1; do
    [ $SECONDS -lt $end ] || { cat /tmp/within; echo "not within the time: $*"; return 1; }
    sleep 0.5 || true
  done
}
fleet() { chaperone fleet "$@" --config /etc/chaperone/chaperone.yaml; }
# recorded QUERY WORD...: it is on record at the server, with all these words in one line.
recorded() {
  local word
  chaperone search --json --config /etc/chaperone/chaperone.yaml --account reviewer --password-file /root/password.txt --purpose "a test of the machine" "$1" >/tmp/found
  shift
  for word; do grep -- "$word" /tmp/found >/tmp/fewer && mv /tmp/fewer /tmp/found || return 1; done
  test -s /tmp/found
}
worker() { pgrep -f '^/usr/bin/chaperone agent worker'; }
main() { systemctl show -p MainPID --value "$1"; }
holder() { main chaperone-agent; }
anew() { case $(readlink "/proc/$1/exe") in *deleted*) return 1 ;; /*) ;; *) return 1 ;; esac; }
# look FILE...: all that is to be seen of them from outside, and what is in them.
look() { stat -c '%N %F %s %a %u %g %y' "$@"; sha256sum "$@"; }
# not COMMAND...: a step ends when it succeeds. (A line that begins with ! never ends one.)
not() { ! "$@"; }
# trying begins to start a messenger all the time, until tried, which fails when it was let through once.
trying() {
  rm -f /tmp/enough /tmp/let /tmp/kept
  touch /tmp/let /tmp/kept && chown alice: /tmp/let /tmp/kept
  cat >/tmp/try.sh <<'END'
cd /home/alice
while [ ! -e /tmp/enough ]; do ./holiday.jpg --version >>/tmp/let 2>>/tmp/kept; done
END
  setpriv --reuid 1000 --regid 1000 --clear-groups bash /tmp/try.sh &
}
tried() {
  touch /tmp/enough
  wait
  [ "$(grep -c 'not permitted' /tmp/kept)" -gt 20 ]
  not test -s /tmp/let
  say "$(grep -c 'not permitted' /tmp/kept) starts of it meanwhile, none let through"
}
started() { local status=0; "$@" || status=$?; [ $status != 126 ]; }
# warm starts each program that the steps need until it is known: an emulated machine is too slow to look at all of them in the time that
# each has. Which ones are refused meanwhile is no matter here.
warm() {
  local p
  for p in sleep cat cp chmod chown cut curl date diff env find grep head id ls mkdir mount umount mknod mv pgrep perl ps readlink rm script sed seq setpriv sha256sum sort \
    stat su sync systemctl tail tar tee test timeout touch tr true udevadm unshare wc base64 dpkg; do
    within 240 started "$(type -P "$p")" --version
  done
  within 120 su alice -c true
}
