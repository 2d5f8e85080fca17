package server

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// watchJournal keeps health and metrics of the record up, once a second.
func (s *Server) watchJournal(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.measure(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// journalItem is the health item of recording itself.
const journalItem = "journal"

// accountsItem is the health item of accounts, when they are lost.
const accountsItem = "accounts"

// checkAccounts says that accounts are lost: records are there, and nobody can sign in to look at them.
func (s *Server) checkAccounts() {
	switch {
	case !s.store.Book.Missing():
		if s.board.State(accountsItem) != "" {
			s.board.Set(accountsItem, health.OK, "", "")
		}
	case s.board.State(accountsItem) == "" && s.store.records():
		s.log.Error("state/accounts.json is missing beside a journal with records: nobody can sign in", "do", accountsAdvice)
		s.board.Set(accountsItem, health.Failed, "state/accounts.json is missing beside a journal with records: nobody can sign in", accountsAdvice)
	}
}

const accountsAdvice = "Restore it from the backup; or make new ones: chaperone account create --role administrator NAME, then chaperone account link NAME."

// records reports whether the journal held records when it was opened.
func (s *Store) records() bool {
	streams, err := s.Journal.Streams()
	return err == nil && streams[journal.Local] > 0
}

func (s *Server) measure(ctx context.Context) {
	s.checkAccounts()
	streams, err := s.store.Journal.Streams()
	if err == nil {
		for name, last := range maps.All(streams) {
			s.meters.frames.WithLabelValues(name).Set(float64(last))
		}
	}
	s.measureDisk(ctx)
	s.measureLag(ctx)
	for _, i := range s.board.Items() {
		s.meters.health.WithLabelValues(i.Name).Set(map[health.State]float64{health.OK: 0, health.Degraded: 1, health.Failed: 2}[i.State])
	}
}

// measureDisk says how much room there is. Once recording has failed it tries again by recording just that.
func (s *Server) measureDisk(ctx context.Context) {
	if s.board.State(journalItem) == health.Failed && ctx.Err() == nil {
		s.record(ctx, "journal.recover")
	}
	if free, err := freeBytes(s.store.Dir); err == nil {
		switch {
		case free < 64<<20:
			s.board.Set("disk", health.Failed, fmt.Sprintf("%d MiB free under the data directory", free>>20), s.withoutRoom())
		case free < 1<<30:
			s.board.Set("disk", health.Degraded, fmt.Sprintf("%d MiB free under the data directory", free>>20), "Make room soon.")
		default:
			s.board.Set("disk", health.OK, fmt.Sprintf("%d GiB free", free>>30), "")
		}
	}
}

// withoutRoom says what happens to what cannot be recorded.
func (s *Server) withoutRoom() string {
	var open []string
	for _, g := range s.cfg.Gateways {
		if g.OnFailure == "open" {
			open = append(open, g.ID)
		}
	}
	if len(open) == 0 {
		return "Make room: what cannot be recorded is refused."
	}
	const spooled = "(on_failure: open) are delivered and wait in the spool until they can be recorded"
	if len(open) == len(s.cfg.Gateways) {
		return "Make room: messages " + spooled + "; whatever else cannot be recorded is refused."
	}
	return fmt.Sprintf("Make room: messages of %s %s; whatever else cannot be recorded is refused.", strings.Join(open, ", "), spooled)
}

func (s *Server) measureLag(ctx context.Context) {
	if s.store.Projector == nil {
		return
	}
	lag, err := s.store.Projector.Lag(ctx)
	switch {
	case err != nil:
		s.board.Set("projections", health.Degraded, err.Error(), "Search and pages may be stale; records are still made.")
	case lag.Behind > 5*time.Second:
		s.board.Set("projections", health.Degraded, fmt.Sprintf("%d frames (%s) behind the journal", lag.Frames, lag.Behind.Round(time.Second)), "Search and pages are stale; records are still made.")
	default:
		s.board.Set("projections", health.OK, fmt.Sprintf("%d frames behind", lag.Frames), "")
	}
	s.meters.lag.Set(lag.Behind.Seconds())
}

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
