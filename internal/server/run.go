package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// listen binds at once, so that an address in use is an error at start, and serves when the server runs.
func (s *Server) listen(name, address string, h http.Handler, cert, key string, onStop ...func()) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.unused = append(s.unused, l)
	if cert != "" {
		pair, err := outside.KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}})
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	for _, stop := range onStop {
		srv.RegisterOnShutdown(stop)
	}
	s.add(part{name: name, run: func(ctx context.Context) error { return serveUntil(ctx, srv, l) }})
	return nil
}

// drainTime is how long requests may take to end when the server stops.
const drainTime = 5 * time.Second

func serveUntil(ctx context.Context, srv *http.Server, l net.Listener) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if srv.Shutdown(drain) != nil {
			srv.Close() // live pages stay as long as somebody looks
		}
	}()
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// Run starts every part, calls ready when all accept work, and stops all of them when the context ends or one fails: first what takes work
// in, then what the work is handed to, the store last.
func (s *Server) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	later, stopLater := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLater()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	s.store.Start(ctx)
	s.record(ctx, "serve.start")
	var first, after sync.WaitGroup
	for _, p := range s.parts {
		run, group := ctx, &first
		if p.after {
			run, group = later, &after
		}
		group.Go(func() {
			if err := p.run(run); err != nil && run.Err() == nil {
				s.log.Error("part failed", "part", p.name, "error", err)
				stop(fmt.Errorf("%s: %w", p.name, err))
			}
		})
	}
	if s.await(ctx) {
		ready()
		debug.FreeOSMemory() // of compiling policy and unlocking the key, which takes more than all that follows
	}
	s.watchSignals(ctx, hup)
	first.Wait()
	stopLater()
	after.Wait()
	s.record(context.WithoutCancel(ctx), "serve.stop")
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.store.Close())
}

// await reports whether every part accepts work, or the context ended before.
func (s *Server) await(ctx context.Context) bool {
	for _, p := range s.parts {
		if p.ready == nil {
			continue
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// watchSignals reloads policy and people at SIGHUP until the context ends.
func (s *Server) watchSignals(ctx context.Context, hup <-chan os.Signal) {
	for {
		select {
		case <-hup:
			s.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reload brings the policy file and the table of people into force as they lie there: both, or neither. Either way it is on record.
func (s *Server) reload(ctx context.Context) {
	s.rules.loading.Lock()
	defer s.rules.loading.Unlock()
	rules, wrongRules := s.rules.read()
	people, wrongPeople := s.store.People.read()
	if wrongRules != nil {
		s.log.Error("policy reload", "error", wrongRules)
		s.board.Set("policy", health.Degraded, "the file is broken, the policy before stays in force: "+wrongRules.Error(), "chaperone policy check says what is wrong")
	} else {
		s.board.Set("policy", health.OK, "version "+s.rules.Policy().Version(), "")
	}
	if wrongPeople != nil {
		s.log.Error("people reload", "error", wrongPeople)
		s.board.Set(peopleItem, health.Degraded, "the table is broken, table and policy from before stay in force: "+wrongPeople.Error(), "chaperone config test says what is wrong")
	} else {
		s.board.Set(peopleItem, health.OK, "", "")
	}
	if wrongRules != nil || wrongPeople != nil {
		s.record(ctx, "policy.kept")
		return
	}
	s.rules.inForce.Store(rules)
	s.store.People.inForce.Store(people)
	if s.store.roll != nil {
		people.Enrol(s.store.roll)
	}
	s.board.Set("policy", health.OK, "version "+s.rules.Policy().Version(), "")
	s.record(ctx, "policy.reload")
}

// peopleItem is the health item of the table of people, once it was read again.
const peopleItem = "people"

// record makes an act of this process a record, and says on the board whether recording works.
func (s *Server) record(ctx context.Context, action string) {
	err := s.store.Recorder.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: "serve",
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: s.rules.Policy().Version(), Details: []event.Fact{{Name: "version", Value: s.version}}}}})
	if err != nil {
		s.log.Error("record an act", "act", action, "error", err)
		s.board.Set(journalItem, health.Failed, err.Error(), "See the disk: df, dmesg. What cannot be recorded is refused.")
		return
	}
	s.board.Set(journalItem, health.OK, "records are made", "")
}
