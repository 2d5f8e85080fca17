package inspecttest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/inspecttest"
)

// shouter is the smallest inspector: it hits texts with an exclamation mark.
type shouter struct{}

func (shouter) Name() string    { return "shouter" }
func (shouter) Version() string { return "1" }
func (shouter) Inspect(_ context.Context, item *inspect.Item) inspect.Result {
	at := strings.Index(item.Text, "!")
	if at < 0 {
		return inspect.Result{}
	}
	return inspect.Result{Hits: []event.Hit{{Inspector: "shouter", Name: "shout", Count: 1, Confidence: event.Low, Version: "1", Spans: []event.Span{{Start: at, End: at + 1}}}}}
}

func TestSuiteAcceptsTheSmallestInspector(t *testing.T) {
	inspecttest.Run(t, shouter{}, &inspecttest.Bad{Item: &inspect.Item{Text: "now!"}, Hit: "shout"})
}
