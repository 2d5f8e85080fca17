// Package inspect holds the one interface of content inspectors, and runs them side by side under one deadline.
//
// An inspector answers clean, hit, or not inspected with a reason. It never decides: policy does.
package inspect

import (
	"context"
	"io"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Item is what is looked into: a text, or a file with its name. Content may be read by several inspectors at once.
type Item struct {
	Text string
	File *event.File
	Size int64
	Body io.ReaderAt // nil for a text
}

// Result is what one inspector found. Both lists empty means clean.
type Result struct {
	Hits         []event.Hit
	NotInspected []event.NotInspected
	Type         string // media type by content, from the inspector that tells it
}

// Inspector looks into one item. It honours the context's deadline and answers "not inspected: timeout" when it passes; it returns no
// error, because every failure is a result that policy must see.
type Inspector interface {
	Name() string
	Version() string // of detector and database; part of every hit
	Inspect(ctx context.Context, item *Item) Result
}
