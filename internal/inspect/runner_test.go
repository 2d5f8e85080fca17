package inspect_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/inspecttest"
)

// fake answers what it is told to.
type fake struct {
	name  string
	found func(item *inspect.Item) inspect.Result
}

func (f fake) Name() string    { return f.name }
func (f fake) Version() string { return "1" }
func (f fake) Inspect(_ context.Context, item *inspect.Item) inspect.Result {
	return f.found(item)
}

func hits(name string) func(*inspect.Item) inspect.Result {
	return func(*inspect.Item) inspect.Result { return inspect.Result{Hits: []event.Hit{{Name: name}}} }
}

func TestRunMergesInOrder(t *testing.T) {
	r := inspect.New([]inspect.Inspector{fake{"one", hits("a")}, fake{"two", hits("b")}}, time.Minute)
	file := &inspect.Item{File: &event.File{Name: "f.txt"}}
	var got []string
	for _, h := range r.Run(context.Background(), &inspect.Item{Text: "x"}, file).Hits {
		got = append(got, h.Name+h.File)
	}
	if want := []string{"a", "b", "af.txt", "bf.txt"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r.Version() != "one 1, two 1" {
		t.Errorf("version %q", r.Version())
	}
}

func TestRunGivesFilesTheirType(t *testing.T) {
	r := inspect.New([]inspect.Inspector{fake{"type", func(*inspect.Item) inspect.Result { return inspect.Result{Type: "image/png"} }}}, time.Minute)
	item := &inspect.Item{File: &event.File{Name: "f"}}
	if r.Run(context.Background(), item); item.File.Type != "image/png" {
		t.Errorf("type %q", item.File.Type)
	}
}

func TestRunHangingAndPanicking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := inspecttest.Hanging{Release: make(chan struct{})}
		panics := fake{"panics", func(item *inspect.Item) inspect.Result { panic(item) }}
		r := inspect.New([]inspect.Inspector{hanging, panics, fake{"fine", hits("a")}}, time.Second)
		start := time.Now()
		out := r.Run(context.Background(), &inspect.Item{Text: "x"})
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, not the deadline", took)
		}
		want := []event.NotInspected{{Inspector: "hanging", Reason: event.ReasonTimeout, Version: "1"}, {Inspector: "panics", Reason: event.ReasonUnparseable, Version: "1"}}
		if len(out.Hits) != 1 || !reflect.DeepEqual(out.NotInspected, want) {
			t.Errorf("got %+v", out)
		}
		close(hanging.Release)
	})
}

// TestRunHungForGood shows that an inspector that hangs for good costs a bounded number of goroutines, and is then unavailable.
func TestRunHungForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := inspecttest.Hanging{Release: make(chan struct{})}
		r := inspect.New([]inspect.Inspector{hanging}, time.Second)
		reasons := map[string]int{}
		for range 300 {
			for _, n := range r.Run(context.Background(), &inspect.Item{Text: "x"}).NotInspected {
				reasons[n.Reason]++
			}
		}
		if reasons[event.ReasonTimeout] != 256 || reasons[event.ReasonUnavailable] != 44 {
			t.Errorf("reasons %v", reasons)
		}
		close(hanging.Release)
	})
}

func TestRunOversizeText(t *testing.T) {
	r := inspect.New([]inspect.Inspector{fake{"fine", hits("a")}}, time.Minute)
	out := r.Run(context.Background(), &inspect.Item{Text: string(make([]byte, inspect.MaxText+1))})
	if len(out.NotInspected) != 1 || out.NotInspected[0].Reason != event.ReasonOversize {
		t.Errorf("got %+v", out)
	}
}
