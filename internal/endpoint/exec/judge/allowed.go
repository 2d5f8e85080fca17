package judge

import (
	"fmt"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// Allowed is a file that was let through under a policy generation, and is from then on without asking: only root can change it.
type Allowed struct {
	Generation uint64
	Key        wire.Key
}

// HandOver tells the holder what was allowed under the generation in force before it was started, as by Options.Allowed.
func (j *Judge) HandOver(s Socket, keys []wire.Key) error {
	m := wire.Message{Kind: wire.Answer, Flags: wire.Allow | wire.Remember, Generation: j.rules.Load().Generation}
	for _, m.Key = range keys {
		if err := s.send(&m); err != nil {
			return fmt.Errorf("judge: %w", err)
		}
	}
	return nil
}
