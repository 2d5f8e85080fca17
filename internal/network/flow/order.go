package flow

import "time"

// order is a list of flows, the one that was placed last at its end. A packet does not move its flow: who was heard since it was placed
// gets a second turn when it comes to the front, so that a packet touches no other flow.
type order struct {
	table       *table
	first, last uint32 // numbers of flows, 0 for none
	n           int
}

func (o *order) front() *Flow { return o.table.numbered(o.first) }

func (o *order) after(f *Flow) *Flow { return o.table.numbered(f.next) }

// push places f at the end.
func (o *order) push(f *Flow) {
	f.mark = uint32(f.Packets)
	f.prev, f.next = o.last, 0
	if last := o.table.numbered(o.last); last != nil {
		last.next = f.number
	} else {
		o.first = f.number
	}
	o.last = f.number
	o.n++
}

func (o *order) remove(f *Flow) {
	if before := o.table.numbered(f.prev); before != nil {
		before.next = f.next
	} else {
		o.first = f.next
	}
	if behind := o.table.numbered(f.next); behind != nil {
		behind.prev = f.prev
	} else {
		o.last = f.prev
	}
	f.prev, f.next = 0, 0
	o.n--
}

// again places f at the end once more.
func (o *order) again(f *Flow) {
	o.remove(f)
	o.push(f)
}

// heard reports whether f was heard since it was placed.
func (f *Flow) heard() bool { return uint32(f.Packets) != f.mark }

// maxTurns bounds the second turns that one eviction gives.
const maxTurns = 16

// silent returns the flow to evict: the first that was not heard since it was placed.
func (o *order) silent() *Flow {
	for range maxTurns {
		f := o.front()
		if f == nil || !f.heard() {
			return f
		}
		o.again(f)
	}
	return o.front()
}

// What makes a flow confirmed: an answer and another packet of the client's, or, where one direction is all that is seen, so many packets.
const (
	confirmedBy   = 2
	confirmedOnly = 8
)

func (f *Flow) answered() bool {
	return f.packetsC2S >= confirmedBy && f.Packets > f.packetsC2S || f.Packets >= confirmedOnly
}

// lists are the flows of a table in the order in which they may have to leave it. A flood is of flows that nobody answers: they leave
// first, unless the others have taken three quarters of the table, so that neither kind can keep the other out.
type lists struct{ fresh, confirmed order }

func (l *lists) init(t *table) { l.fresh.table, l.confirmed.table = t, t }

func (l *lists) of(f *Flow) *order {
	if f.confirmed {
		return &l.confirmed
	}
	return &l.fresh
}

// confirm moves f among the confirmed.
func (l *lists) confirm(f *Flow) {
	l.fresh.remove(f)
	f.confirmed = true
	l.confirmed.push(f)
}

// victim returns the flow that leaves when there is no room for another.
func (l *lists) victim(room int) *Flow {
	if l.fresh.n == 0 || 4*l.confirmed.n > 3*room {
		return l.confirmed.silent()
	}
	return l.fresh.silent()
}

// sweepStep is how often, in parts of the idle time, the lists are looked through for flows that have been silent for too long;
// sweepBatch is how many are looked at with one packet, which does not wait for more.
const (
	sweepStep  = 128
	sweepBatch = 64
)

// sweep is a look through the lists that goes on packet by packet.
type sweep struct {
	begun time.Time
	left  [2]int // flows to look at, of the fresh and the confirmed
}

// expire ends flows that have been silent for the idle time; within twice that time it has found each.
func (t *Tracker) expire(now time.Time, batch int) {
	if t.sweep.left == [2]int{} {
		if now.Sub(t.sweep.begun) < t.limits.Idle/sweepStep && !now.Before(t.sweep.begun) {
			return
		}
		t.sweep = sweep{now, [2]int{t.lists.fresh.n, t.lists.confirmed.n}}
	}
	for i, o := range []*order{&t.lists.fresh, &t.lists.confirmed} {
		for ; t.sweep.left[i] > 0 && batch > 0; batch-- {
			f := o.front()
			if f == nil || !f.heard() && now.Sub(f.Last.Time()) < t.limits.Idle {
				t.sweep.left[i] = 0
				break
			}
			t.sweep.left[i]--
			if !f.heard() || now.Sub(f.Last.Time()) >= t.limits.Idle {
				t.close(f, false)
			} else {
				o.again(f)
			}
		}
	}
}
