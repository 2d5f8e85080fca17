package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

func openObservations(t *testing.T, dir string, key []byte) (*sqlite.Observations, string) {
	t.Helper()
	o, aside, err := sqlite.OpenObservations(dir, key, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o, aside
}

// watched is an observation of a flow on a machine.
func watched(at time.Time, app, host, person string, times int64) observation.Entry {
	return observation.Entry{Same: app + "|" + host, Observed: archive.Observed{Last: at, Times: times, Event: &event.Event{Kind: event.FlowSeen, Time: at,
		Host:    event.Host{ID: "m-" + host, Name: host, Address: "10.0.0." + person, Person: person},
		Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"},
		Content: event.Content{Flow: &event.Flow{App: app, Server: "192.0.2.1:443", Packets: 3 * times, Bytes: 100 * times, Confidence: event.High}}}}}
}

func observed(t *testing.T, o *sqlite.Observations, f archive.ObservedFilter, cursor string) []archive.SelectedObservation {
	t.Helper()
	var out []archive.SelectedObservation
	for s, err := range o.Observed(t.Context(), f, cursor) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func nobodyHeld(event.Host) (bool, error) { return false, nil }

func confirmed(observation.Folded) error { return nil }

// TestTheSameWithinAnHour is one observation that adds up; in the next hour, on another machine or in another case it is another.
func TestTheSameWithinAnHour(t *testing.T) {
	o, aside := openObservations(t, t.TempDir(), testKey())
	if aside != "" {
		t.Errorf("something was set aside at %s", aside)
	}
	at := day(1, 9)
	later := watched(at.Add(59*time.Minute), "signal", "laptop", "7", 2)
	for i, want := range []struct {
		batch []observation.Entry
		added int64
	}{
		{[]observation.Entry{watched(at.Add(30*time.Minute), "signal", "laptop", "7", 1), later, watched(at, "signal", "laptop", "7", 1)}, 1},
		{[]observation.Entry{later, watched(at.Add(time.Hour), "signal", "laptop", "7", 1), watched(at, "signal", "desktop", "8", 1), watched(at, "telegram", "laptop", "7", 1)}, 3},
		{nil, 0},
	} {
		if added, err := o.Add(t.Context(), want.batch); err != nil || added != want.added {
			t.Errorf("batch %d added %d (%v), want %d", i, added, err, want.added)
		}
	}
	got := observed(t, o, archive.ObservedFilter{App: "signal", Host: "laptop"}, "")
	if len(got) != 2 {
		t.Fatalf("%d observations", len(got))
	}
	one := got[1]
	if one.Times != 6 || one.Event.Flow.Packets != 18 || one.Event.Flow.Bytes != 600 || !one.Event.Time.Equal(at) || !one.Last.Equal(at.Add(59*time.Minute)) ||
		one.Event.Host != later.Event.Host || one.Event.Flow.Server != "192.0.2.1:443" || one.Event.Verdict.Rule != "otherwise" {
		t.Errorf("it is %+v %+v %+v", one, one.Event.Flow, one.Event.Host)
	}
	if n, oldest, err := o.Size(t.Context()); err != nil || n != 4 || !oldest.Equal(at) {
		t.Errorf("%d observations, the oldest of %v (%v)", n, oldest, err)
	}
}

// TestWhichObservations says what each filter selects, and that words of a query stay words.
func TestWhichObservations(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	var batch []observation.Entry
	for i := range 4 {
		batch = append(batch, watched(day(1, i), "signal", fmt.Sprintf("Laptop-%d", i%2), fmt.Sprint(i%2), 1))
	}
	if _, err := o.Add(t.Context(), append(batch, watched(day(1, 9), "telegram", "Laptop-0", "0", 1))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f archive.ObservedFilter
		n int
	}{
		"all": {n: 5}, "app": {archive.ObservedFilter{App: "telegram"}, 1}, "another app": {archive.ObservedFilter{App: "Telegram"}, 0},
		"name": {archive.ObservedFilter{Host: "laptop-1"}, 2}, "id": {archive.ObservedFilter{Host: "m-Laptop-0"}, 3}, "address": {archive.ObservedFilter{Host: " 10.0.0.1 "}, 2},
		"person": {archive.ObservedFilter{Host: "1"}, 2}, "nobody": {archive.ObservedFilter{Host: "10.0.0"}, 0}, "quotes": {archive.ObservedFilter{Host: "' OR 1=1 --"}, 0},
		"app of quotes": {archive.ObservedFilter{App: `" OR ""="`}, 0}, "pattern": {archive.ObservedFilter{Host: "%"}, 0},
		"after, inclusive": {archive.ObservedFilter{After: day(1, 3)}, 2}, "before, exclusive": {archive.ObservedFilter{Before: day(1, 3)}, 3},
		"both": {archive.ObservedFilter{After: day(1, 1), Before: day(1, 3), Host: "laptop-1"}, 1}, "turned around": {archive.ObservedFilter{After: day(1, 3), Before: day(1, 1)}, 0},
		"before all time": {archive.ObservedFilter{Before: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)}, 0}, "after all time": {archive.ObservedFilter{After: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, 0},
	} {
		if got := observed(t, o, c.f, ""); len(got) != c.n {
			t.Errorf("%s: %d, want %d", name, len(got), c.n)
		}
	}
}

// TestObservationsFromACursor: more than are fetched at once, all of one moment, each once and newest first; what is no cursor is refused.
func TestObservationsFromACursor(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	var batch []observation.Entry
	for i := range 1100 {
		batch = append(batch, watched(day(1, 9), "signal", fmt.Sprint("host", i), "7", 1))
	}
	if _, err := o.Add(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	all := observed(t, o, archive.ObservedFilter{}, "")
	seen := map[string]bool{}
	for _, s := range all {
		seen[s.Event.Host.Name] = true
	}
	if len(all) != 1100 || len(seen) != 1100 {
		t.Errorf("%d observations of %d machines", len(all), len(seen))
	}
	for _, i := range []int{0, 499, 500, 1098, 1099} {
		rest := observed(t, o, archive.ObservedFilter{}, all[i].Cursor)
		if len(rest) != 1099-i || len(rest) > 0 && rest[0].Cursor != all[i+1].Cursor {
			t.Errorf("behind %d there are %d", i, len(rest))
		}
	}
	n := 0
	for range o.Observed(t.Context(), archive.ObservedFilter{}, "") { // who wants two gets two
		if n++; n == 2 {
			break
		}
	}
	for _, cursor := range []string{"x", "1", "1.", ".1", "a.b", "99999999999999999999.1", "'; DROP TABLE observations"} {
		for _, err := range o.Observed(t.Context(), archive.ObservedFilter{}, cursor) {
			if !errors.Is(err, archive.ErrCursor) {
				t.Errorf("cursor %q gives %v", cursor, err)
			}
		}
	}
}

// TestFold makes counts of what is old, keeps what is held and what is new, and leaves no name of what it folded anywhere in the file.
func TestFold(t *testing.T) {
	dir := t.TempDir()
	o, _ := openObservations(t, dir, testKey())
	if _, err := o.Add(t.Context(), []observation.Entry{watched(day(1, 9), "signal", "laptop", "7", 2), watched(day(1, 9).Add(time.Minute), "signal", "desktop", "8", 3),
		watched(day(1, 11), "telegram", "laptop", "7", 1), watched(day(5, 9), "signal", "laptop", "7", 4), watched(day(1, 9), "signal", "held-machine", "9", 5)}); err != nil {
		t.Fatal(err)
	}
	if err := o.Count(t.Context(), []observation.Entry{watched(day(1, 9), "signal", "x", "1", 10)}); err != nil { // counted only, in an hour that is folded too
		t.Fatal(err)
	}
	held := func(h event.Host) (bool, error) { return h.Name == "held-machine", nil }
	var said observation.Folded
	done, err := o.Fold(t.Context(), day(2, 0), held, func(f observation.Folded) error { said = f; return nil })
	if want := (observation.Folded{From: day(1, 9), Entries: 3, Times: 6, Held: 1}); err != nil || done != want || said != want {
		t.Fatalf("folded %+v, said %+v (%v)", done, said, err)
	}
	var left []string
	for _, s := range observed(t, o, archive.ObservedFilter{}, "") {
		left = append(left, s.Event.Host.Name)
	}
	if !reflect.DeepEqual(left, []string{"laptop", "held-machine"}) {
		t.Errorf("left are %q", left)
	}
	hours, err := o.Hours(t.Context(), day(1, 0), day(2, 0))
	want := []archive.HourCount{
		{Hour: day(1, 9), Kind: event.FlowSeen, App: "signal", Action: event.Allow, Times: 15, Packets: 45, Bytes: 1500},
		{Hour: day(1, 11), Kind: event.FlowSeen, App: "telegram", Action: event.Allow, Times: 1, Packets: 3, Bytes: 100},
	}
	if err != nil || !reflect.DeepEqual(hours, want) {
		t.Errorf("counts are %+v (%v)", hours, err)
	}
	if hours, err := o.Hours(t.Context(), day(1, 10), day(1, 11)); err != nil || len(hours) != 0 {
		t.Errorf("an hour of nothing, and the next excluded: %+v (%v)", hours, err)
	}
	said = observation.Folded{}
	if done, err := o.Fold(t.Context(), day(2, 0), held, func(f observation.Folded) error { said = f; return nil }); err != nil || done.Entries != 0 || done.Held != 1 || said != (observation.Folded{}) {
		t.Errorf("once more folds %+v, said %+v (%v)", done, said, err)
	}
	if info, err := os.Stat(filepath.Join(dir, sqlite.ObservationsName+"-wal")); err == nil && info.Size() > 0 {
		t.Errorf("the log still has %d bytes", info.Size())
	}
}

// TestFoldThatIsNotOnRecord changes nothing: neither where the act could not be recorded, nor where holds could not be asked, nor under a
// context that ended.
func TestFoldThatIsNotOnRecord(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	if _, err := o.Add(t.Context(), []observation.Entry{watched(day(1, 9), "signal", "laptop", "7", 2), watched(day(1, 9), "signal", "desktop", "8", 2)}); err != nil {
		t.Fatal(err)
	}
	down := errors.New("disk full")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		held    func(event.Host) (bool, error)
		confirm func(observation.Folded) error
		want    error
	}{
		"not recorded": {t.Context(), nobodyHeld, func(observation.Folded) error { return down }, down},
		"no holds":     {t.Context(), func(event.Host) (bool, error) { return false, down }, confirmed, down},
		"one hold":     {t.Context(), func(h event.Host) (bool, error) { return true, map[bool]error{true: down}[h.Name == "desktop"] }, confirmed, down},
		"ended":        {ended, nobodyHeld, confirmed, context.Canceled},
	} {
		if done, err := o.Fold(c.ctx, day(2, 0), c.held, c.confirm); !errors.Is(err, c.want) || done != (observation.Folded{}) {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		hours, err := o.Hours(t.Context(), day(1, 0), day(2, 0))
		if got := observed(t, o, archive.ObservedFilter{}, ""); len(got) != 2 || len(hours) != 0 || err != nil {
			t.Errorf("%s: %d are left, %d hours (%v)", name, len(got), len(hours), err)
		}
	}
	if done, err := o.Fold(t.Context(), day(2, 0), nobodyHeld, confirmed); err != nil || done.Entries != 2 {
		t.Errorf("then %+v (%v)", done, err)
	}
}

// TestOldest is the time of the one that so many are older than, and none where there are not so many.
func TestOldest(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	if n, oldest, err := o.Size(t.Context()); n != 0 || !oldest.IsZero() || err != nil {
		t.Errorf("an empty file has %d of %v (%v)", n, oldest, err)
	}
	for i := 5; i > 0; i-- {
		if _, err := o.Add(t.Context(), []observation.Entry{watched(day(i, 9), "signal", "laptop", "7", 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[int64]time.Time{0: day(1, 9), 3: day(4, 9), 4: day(5, 9), 5: {}, 1 << 40: {}} {
		if got, err := o.Oldest(t.Context(), n); err != nil || !got.Equal(want) {
			t.Errorf("behind %d: %v (%v), want %v", n, got, err, want)
		}
	}
}

// TestUnusableObservationsAreSetAside and not removed, for nothing else holds them: of another key, damaged, or no file of ours.
func TestUnusableObservationsAreSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, sqlite.ObservationsName)
	fill := func(o *sqlite.Observations) []byte {
		t.Helper()
		if n, _, err := o.Size(t.Context()); err != nil || n != 0 {
			t.Fatalf("it begins with %d (%v)", n, err)
		}
		if _, err := o.Add(t.Context(), []observation.Entry{watched(day(1, 9), "signal", "laptop", "7", 1)}); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	o, _ := openObservations(t, dir, testKey())
	before := fill(o)
	if bytes.Contains(before, []byte("laptop")) || bytes.Contains(before, []byte("signal")) {
		t.Error("names stand in the file")
	}
	o, aside := openObservations(t, dir, testKey())
	if n, _, err := o.Size(t.Context()); aside != "" || n != 1 || err != nil {
		t.Errorf("opened again: %d, aside %q (%v)", n, aside, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() []byte{
		"another key": func() []byte { return bytes.Repeat([]byte{8}, sqlite.KeySize) },
		"no file of ours": func() []byte {
			if err := os.WriteFile(path, bytes.Repeat([]byte("not a database. "), 1024), 0o600); err != nil {
				t.Fatal(err)
			}
			return testKey()
		},
	} {
		key := change()
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o, aside := openObservations(t, dir, key)
		kept, err := os.ReadFile(aside)
		if err != nil || !bytes.Equal(kept, was) {
			t.Errorf("%s: set aside at %q are %d bytes (%v), were %d", name, aside, len(kept), err, len(was))
		}
		fill(o)
	}
	for _, key := range [][]byte{nil, testKey()[1:]} {
		if _, _, err := sqlite.OpenObservations(dir, key, quiet()); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	if _, _, err := sqlite.OpenObservations(filepath.Join(path, "below a file"), testKey(), quiet()); err == nil {
		t.Error("a folder below a file was made")
	}
}

// TestObservationsFromManySides adds, folds, reads and counts at once: each observation is there or in the counts, never both, never neither.
func TestObservationsFromManySides(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	const sides, each = 4, 25
	var group sync.WaitGroup
	for side := range sides {
		group.Go(func() {
			for i := range each {
				if _, err := o.Add(t.Context(), []observation.Entry{watched(day(1+i%3, 9), "signal", fmt.Sprint("host", side, "-", i), "7", 1)}); err != nil {
					t.Error(err)
				}
				if _, err := o.Fold(t.Context(), day(2, 0), nobodyHeld, confirmed); err != nil {
					t.Error(err)
				}
				if _, err := o.Hours(t.Context(), day(1, 0), day(9, 0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	total := int64(0)
	for _, s := range observed(t, o, archive.ObservedFilter{}, "") {
		total += s.Times
	}
	hours, err := o.Hours(t.Context(), day(1, 0), day(9, 0))
	for _, h := range hours {
		total += h.Times
	}
	if err != nil || total != sides*each {
		t.Errorf("%d of %d are accounted for (%v)", total, sides*each, err)
	}
}

// TestObservationsOfAClosedFile answers nothing, and says so, by every door.
func TestObservationsOfAClosedFile(t *testing.T) {
	o, _ := openObservations(t, t.TempDir(), testKey())
	batch := []observation.Entry{watched(day(1, 9), "signal", "laptop", "7", 1)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	doors := func(ctx context.Context) map[string]error {
		out := map[string]error{}
		_, out["add"] = o.Add(ctx, batch)
		out["count"] = o.Count(ctx, batch)
		_, _, out["size"] = o.Size(ctx)
		_, out["oldest"] = o.Oldest(ctx, 0)
		_, out["hours"] = o.Hours(ctx, day(1, 0), day(2, 0))
		_, out["fold"] = o.Fold(ctx, day(2, 0), nobodyHeld, confirmed)
		for _, err := range o.Observed(ctx, archive.ObservedFilter{}, "") {
			out["observed"] = err
		}
		return out
	}
	for name, err := range doors(ended) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s under a context that ended: %v", name, err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := doors(t.Context())
	for name, err := range got {
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s of a closed file: %v", name, err)
		}
	}
	if len(got) != 7 || o.Close() != nil {
		t.Errorf("%d doors; closing twice", len(got))
	}
}
