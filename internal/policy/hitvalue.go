package policy

import (
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/chaperone-im/chaperone/internal/event"
)

// hitType is the type of hits as the declarations name it.
var hitType = types.NewObjectType(reflect.TypeFor[hitVar]().String(), traits.IndexerType, traits.FieldTesterType)

// hitValue is a hit as an expression's value. Nearly every expression asks hits for their names: those are given without reflection, all
// else comes from the value that the declarations' own adapter makes.
type hitValue struct {
	hit     *event.Hit
	adapter types.Adapter
}

var (
	_ traits.Indexer     = hitValue{}
	_ traits.FieldTester = hitValue{}
)

// hitsOf makes the variable hits.
func hitsOf(hits []event.Hit, adapter types.Adapter) ref.Val {
	out := make([]ref.Val, len(hits))
	for i := range hits {
		out[i] = hitValue{&hits[i], adapter}
	}
	return types.NewRefValList(adapter, out)
}

func (h hitValue) plain() hitVar {
	out := hitVar{h.hit.Inspector, h.hit.Name, h.hit.Count, h.hit.Confidence.Float(), nil, h.hit.File, h.hit.Earlier}
	for _, s := range h.hit.Spans {
		out.Spans = append(out.Spans, spanVar{s.Start, s.End})
	}
	return out
}

func (h hitValue) native() ref.Val { return h.adapter.NativeToValue(h.plain()) }

// Get returns a field.
func (h hitValue) Get(field ref.Val) ref.Val {
	switch field {
	case types.String("name"):
		return types.String(h.hit.Name)
	case types.String("inspector"):
		return types.String(h.hit.Inspector)
	case types.String("file"):
		return types.String(h.hit.File)
	}
	if native, ok := h.native().(traits.Indexer); ok {
		return native.Get(field)
	}
	return types.NewErr("no such field: %v", field)
}

// IsSet reports whether a field has a value.
func (h hitValue) IsSet(field ref.Val) ref.Val {
	if native, ok := h.native().(traits.FieldTester); ok {
		return native.IsSet(field)
	}
	return types.NewErr("no such field: %v", field)
}

// ConvertToNative converts to a Go value.
func (h hitValue) ConvertToNative(t reflect.Type) (any, error) { return h.native().ConvertToNative(t) }

// ConvertToType converts to another type of the language.
func (h hitValue) ConvertToType(t ref.Type) ref.Val { return h.native().ConvertToType(t) }

// Equal compares with another hit.
func (h hitValue) Equal(other ref.Val) ref.Val {
	o, ok := other.(hitValue)
	return types.Bool(ok && reflect.DeepEqual(*h.hit, *o.hit))
}

// Type returns the type of hits.
func (h hitValue) Type() ref.Type { return hitType }

// Value returns the hit.
func (h hitValue) Value() any { return h.plain() }
