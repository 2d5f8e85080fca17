package identitytest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/identity/identitytest"
)

// memory is the smallest Namer that does what the suite asks.
type memory struct {
	mu  sync.Mutex
	ids map[[3]string]string
}

func (m *memory) ID(ctx context.Context, kind identity.NameKind, connector, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if name == "" || len(name) > 4096 {
		return "", errors.New("no such name")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [3]string{string(kind), connector, name}
	if m.ids[key] == "" {
		m.ids[key] = fmt.Sprint("id ", len(m.ids))
	}
	return m.ids[key], nil
}

func TestSuiteCanBePassed(t *testing.T) {
	identitytest.Namer(t, func(*testing.T) func() (identity.Namer, func()) {
		m := &memory{ids: map[[3]string]string{}}
		return func() (identity.Namer, func()) { return m, func() {} }
	})
}
