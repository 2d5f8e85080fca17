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
record() { chaperone search --json --data /var/lib/chaperone-agent --account reviewer --password-file /root/reviewer.password --purpose "test of the machine" "$1"; }
started() { local status=0; "$@" || status=$?; [ $status != 126 ]; }
# warm starts each program that the steps need until it is known: an emulated machine is too slow to look at all of them in the time that
# each has. Which ones are refused meanwhile is no matter here.
warm() {
  local p
  for p in sleep cat cp chmod chown cut curl date diff env find grep head id ls mkdir mknod pgrep perl ps rm script sed seq setpriv sha256sum sort su sync tail tee \
    test timeout touch tr true udevadm unshare wc base64 dpkg; do
    within 240 started "$(type -P "$p")" --version
  done
  within 120 su alice -c true
}
