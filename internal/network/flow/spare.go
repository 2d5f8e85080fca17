package flow

// spares are states that were used before, and wait to be used again.
type spares[T any] struct{ used []*T }

// maxSpare bounds them.
const maxSpare = 1 << 10

func (s *spares[T]) take() *T {
	last := len(s.used) - 1
	if last < 0 {
		return new(T)
	}
	state := s.used[last]
	s.used = s.used[:last]
	return state
}

// put takes back a state, of which it keeps nothing.
func (s *spares[T]) put(state *T) {
	var empty T
	*state = empty
	if len(s.used) < maxSpare {
		s.used = append(s.used, state)
	}
}

// numbered are states that are known by numbers from 1 on, so that a flow need not point to its own.
type numbered[T any] struct {
	states []*T
	free   []uint32
	spares spares[T]
}

func (n *numbered[T]) at(number uint32) *T { return n.states[number-1] }

// take returns the number of an empty state.
func (n *numbered[T]) take() uint32 {
	state := n.spares.take()
	if last := len(n.free) - 1; last >= 0 {
		number := n.free[last]
		n.free = n.free[:last]
		n.states[number-1] = state
		return number
	}
	n.states = append(n.states, state)
	return uint32(len(n.states))
}

func (n *numbered[T]) put(number uint32) {
	n.spares.put(n.states[number-1])
	n.states[number-1] = nil
	n.free = append(n.free, number)
}
