package main

import (
	"errors"
	"path/filepath"
	"time"
)

// tox: two nodes of c-toxcore find each other and talk.
func tox(w *wire) error {
	if err := w.do(30*time.Second, w.client, "gcc", "-O1", "-o", w.path("tox"), toxSource(), "-ltoxcore"); err != nil {
		return err
	}
	if err := w.start(w.server, w.path("tox"), "server", w.path("tox.id"), serverAddr); err != nil {
		return err
	}
	_ = w.rest(2 * time.Second)
	_ = w.do(25*time.Second, w.client, w.path("tox"), "client", w.path("tox.id"), serverAddr) // it may talk on
	return nil
}

func toxSource() string {
	path, err := filepath.Abs("tox/tox.c")
	if err != nil {
		return "tox.c"
	}
	return path
}

// jami: the daemon makes an account and looks for itself in a hash table of one node.
func jami(w *wire) error {
	if err := w.start(w.server, "dhtnode", "-p", "4222", "-s"); err != nil {
		return err
	}
	script, err := w.write("jami.sh", `set -e
jamid=/usr/libexec/jamid
"$jamid" -c & pid=$!
sleep 5
add() { dbus-send --session --print-reply --dest=cx.ring.Ring /cx/ring/Ring/ConfigurationManager cx.ring.Ring.ConfigurationManager."$@"; }
add addAccount dict:string:string:Account.type,RING,Account.alias,alice,Account.hostname,`+serverAddr+`:4222,Account.upnpEnabled,false,TURN.enable,false
sleep 28
kill $pid
`)
	if err != nil {
		return err
	}
	return errors.Join(w.rest(time.Second), w.do(60*time.Second, w.client, "dbus-run-session", "--", "bash", script))
}
