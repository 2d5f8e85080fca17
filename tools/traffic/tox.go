package main

import (
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
