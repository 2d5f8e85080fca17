package flow

// wait is a flow whose decoders wait for more, in the list of them.
type wait struct {
	prev, next *wait
	flow       uint32 // its number
	held       int32  // bytes that are kept for it
}

// waitList is a list of flows whose decoders wait, the one that has waited for longest first.
type waitList struct{ ring wait }

func (l *waitList) init() { l.ring.prev, l.ring.next = &l.ring, &l.ring }

func (l *waitList) front() *wait {
	if l.ring.next == &l.ring {
		return nil
	}
	return l.ring.next
}

func (w *wait) unlink() {
	if w.prev != nil {
		w.prev.next, w.next.prev = w.next, w.prev
		w.prev, w.next = nil, nil
	}
}

func (l *waitList) push(w *wait) {
	w.prev, w.next = l.ring.prev, &l.ring
	w.prev.next, l.ring.prev = w, w
}

// wait returns f's place among the waiting, or nil.
func (f *Flow) wait() *wait {
	switch {
	case f.tcp != nil:
		return &f.tcp.wait
	case f.udp != nil:
		return &f.udp.wait
	}
	return nil
}

func (t *Tracker) waitingWith(f *Flow) *waitList {
	if f.confirmed {
		return &t.waiting[1]
	}
	return &t.waiting[0]
}

// hold notes how much is kept for f, and makes room: of those that wait, first who is not confirmed and has waited for longest gives up.
// A flow that begins something is never refused for what others have left unfinished.
func (t *Tracker) hold(f *Flow, w *wait, held int) {
	if w.flow == 0 {
		w.flow = f.number
		t.waitingWith(f).push(w)
	}
	t.held += held - int(w.held)
	w.held = int32(held)
	for i := range t.waiting {
		for t.held > t.limits.Memory {
			oldest := t.waiting[i].front()
			if oldest == nil || oldest == w {
				break
			}
			t.counts.Unread++
			t.settle(t.table.at(oldest.flow))
		}
	}
}

// confirm moves f among the confirmed, and its place among those that wait too.
func (t *Tracker) confirm(f *Flow) {
	t.lists.confirm(f)
	if w := f.wait(); w != nil && w.flow != 0 {
		w.unlink()
		t.waitingWith(f).push(w)
	}
}
