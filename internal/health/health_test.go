package health_test

import (
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/health"
)

func TestBoard(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := health.NewBoard(func() time.Time { return now })
	var told []health.Item
	b.Watch(func(i health.Item) { told = append(told, i) })
	if b.Worst() != health.OK {
		t.Error("an empty board is not ok")
	}
	b.Set("b", health.OK, "", "")
	b.Set("a", health.Failed, "down", "start it")
	since := now
	now = now.Add(time.Minute)
	b.Set("a", health.Failed, "still down", "start it")
	if got := b.Items(); got[0].Name != "a" || !got[0].Since.Equal(since) || got[0].Detail != "still down" {
		t.Errorf("worst item is %+v", got[0])
	}
	if len(told) != 2 {
		t.Errorf("watchers were told %d times, want 2", len(told))
	}
}
