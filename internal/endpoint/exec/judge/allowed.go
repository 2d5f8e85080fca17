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

// leave forgets what is known of files on devices that may be others by now.
func (j *Judge) leave() {
	j.leaving.Lock() // whoever comes meanwhile waits until that is done
	defer j.leaving.Unlock()
	if gone := j.o.Gone(); gone != nil {
		j.cache.leave(gone)
	}
}
