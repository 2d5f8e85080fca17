package flow

// wait is a flow whose decoders wait for more, in the list of them.
type wait struct {
	prev, next uint32 // numbers of flows, 0 for none
	flow       uint32 // its number, 0 when it is in no list
	held       int32  // bytes that are kept for it
}

// waitList is a list of flows whose decoders wait, the one that has waited for longest first.
type waitList struct{ first, last uint32 }

// waitOf returns the place among the waiting of the flow of the number, or nil for 0.
func (t *Tracker) waitOf(n uint32) *wait {
	if n == 0 {
		return nil
	}
	return t.wait(t.table.at(n))
}

func (t *Tracker) unlink(l *waitList, w *wait) {
	if before := t.waitOf(w.prev); before != nil {
		before.next = w.next
	} else {
		l.first = w.next
	}
	if behind := t.waitOf(w.next); behind != nil {
		behind.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.prev, w.next = 0, 0
}

func (t *Tracker) push(l *waitList, w *wait) {
	w.prev, w.next = l.last, 0
	if last := t.waitOf(l.last); last != nil {
		last.next = w.flow
	} else {
		l.first = w.flow
	}
	l.last = w.flow
}

// wait returns f's place among the waiting, or nil.
func (t *Tracker) wait(f *Flow) *wait {
	switch {
	case f.looked == 0:
		return nil
	case f.Proto == protoTCP:
		return &t.tcp.at(f.looked).wait
	}
	return &t.udp.at(f.looked).wait
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
		t.push(t.waitingWith(f), w)
	}
	t.held += held - int(w.held)
	w.held = int32(held)
	for i := range t.waiting {
		for t.held > t.limits.Memory {
			oldest := t.waitOf(t.waiting[i].first)
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
	w := t.wait(f)
	waits := w != nil && w.flow != 0
	if waits {
		t.unlink(t.waitingWith(f), w)
	}
	t.lists.confirm(f)
	if waits {
		t.push(t.waitingWith(f), w)
	}
}
