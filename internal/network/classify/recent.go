package classify

import "time"

// recent remembers things for a while. It is bounded: when it is full the older half is forgotten, and what is new always finds room.
type recent[K comparable, V any] struct {
	young, old map[K]kept[V]
	most       int
}

type kept[V any] struct {
	value V
	until time.Time
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{young: map[K]kept[V]{}, old: map[K]kept[V]{}, most: most}
}

func (r *recent[K, V]) put(k K, v V, until time.Time) {
	if _, ok := r.young[k]; !ok && len(r.young) >= r.most {
		r.old, r.young = r.young, map[K]kept[V]{}
	}
	r.young[k] = kept[V]{v, until}
}

func (r *recent[K, V]) get(k K, now time.Time) (v V, ok bool) {
	x, ok := r.young[k]
	if !ok {
		x, ok = r.old[k]
	}
	if !ok || !now.Before(x.until) {
		return v, false
	}
	return x.value, true
}

func (r *recent[K, V]) len() int { return len(r.young) + len(r.old) }
