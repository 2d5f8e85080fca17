// Package identitytest holds the suite that every implementation of identity.Namer must pass.
package identitytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/identity"
)

// Namer runs the behaviour of an identity.Namer. Open opens the same map each time it is called in one subtest; what it returns beside
// closes it.
func Namer(t *testing.T, open func(t *testing.T) func() (identity.Namer, func())) {
	for name, run := range map[string]func(*testing.T, func() (identity.Namer, func())){
		"same name, same id": sameName, "names apart": namesApart, "across restarts": restarts, "at once": atOnce, "bounds": bounds,
	} {
		t.Run(name, func(t *testing.T) { run(t, open(t)) })
	}
}

func give(t *testing.T, n identity.Namer, kind identity.NameKind, connector, name string) string {
	t.Helper()
	id, err := n.ID(context.Background(), kind, connector, name)
	if err != nil || id == "" {
		t.Fatalf("%s %q %q: %q, %v", kind, connector, name, id, err)
	}
	return id
}

func sameName(t *testing.T, open func() (identity.Namer, func())) {
	n, done := open()
	defer done()
	id := give(t, n, identity.HandleName, "office", "alice@example.org")
	if again := give(t, n, identity.HandleName, "office", "alice@example.org"); again != id {
		t.Errorf("%s and then %s", id, again)
	}
}

func namesApart(t *testing.T, open func() (identity.Namer, func())) {
	n, done := open()
	defer done()
	seen := map[string]string{}
	for _, kind := range []identity.NameKind{identity.HandleName, identity.RoomName, identity.HostName} {
		for _, connector := range []string{"", "a", "ab", "office"} {
			for _, name := range []string{"b", "bc", "c", "ab", "A", "a\x00b", "\xff\xfe", "ünïcode", "u\u0308"} {
				id, what := give(t, n, kind, connector, name), fmt.Sprintf("%s %q %q", kind, connector, name)
				if other, ok := seen[id]; ok {
					t.Errorf("%s and %s share an id", what, other)
				}
				seen[id] = what
			}
		}
	}
}

func restarts(t *testing.T, open func() (identity.Namer, func())) {
	ids := map[string]string{}
	for round := range 4 {
		n, done := open()
		for i := range 5 * (round + 1) {
			name := fmt.Sprintf("name\xff %d", i)
			id := give(t, n, identity.RoomName, "office", name)
			if before, ok := ids[name]; ok && before != id {
				t.Errorf("round %d: %q had another id", round, name)
			}
			ids[name] = id
		}
		done()
	}
}

func atOnce(t *testing.T, open func() (identity.Namer, func())) {
	n, done := open()
	defer done()
	const callers, names = 8, 20
	var got [callers][names]string
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := range names {
				id, err := n.ID(context.Background(), identity.HandleName, "", fmt.Sprint(i))
				if err != nil {
					t.Error(err)
				}
				got[c][i] = id
			}
		})
	}
	group.Wait()
	for c := range callers {
		if got[c] != got[0] {
			t.Fatal("callers were given different ids for one name")
		}
	}
}

func bounds(t *testing.T, open func() (identity.Namer, func())) {
	n, done := open()
	defer done()
	give(t, n, identity.HandleName, "office", string(make([]byte, 3071))) // the longest address of XMPP (RFC 7622, section 3.1)
	for _, name := range []string{"", string(make([]byte, 1<<20))} {
		if id, err := n.ID(t.Context(), identity.HandleName, "office", name); err == nil {
			t.Errorf("a name of %d bytes was given %s", len(name), id)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.ID(ended, identity.HandleName, "office", "new"); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}
