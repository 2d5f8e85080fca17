package catalog

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Strength is the confidence of a fact. In YAML it is one of the words low, medium, high and exact; in JSON a number from 0 to 1.
type Strength event.Confidence

// UnmarshalYAML reads the word.
func (s *Strength) UnmarshalYAML(node ast.Node) error {
	switch text, _ := scalar(node); text {
	case "low":
		*s = Strength(event.Low)
	case "medium":
		*s = Strength(event.Medium)
	case "high":
		*s = Strength(event.High)
	case "exact":
		*s = Strength(event.Exact)
	default:
		return at(node, fmt.Sprintf("confidence is %q, must be low, medium, high or exact", text))
	}
	return nil
}

// MarshalJSON writes the number.
func (s Strength) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, event.Confidence(s).Float(), 'g', -1, 64), nil
}

// Day is a date: YYYY-MM-DD, its first moment in UTC.
type Day struct{ time.Time }

// UnmarshalYAML reads the date.
func (d *Day) UnmarshalYAML(node ast.Node) error {
	text, _ := scalar(node)
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return at(node, fmt.Sprintf("date is %q, must be YYYY-MM-DD", text))
	}
	d.Time = t
	return nil
}

// MarshalJSON writes the date.
func (d Day) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, d.Format(time.DateOnly)), nil
}

// CIDR is an address range, written without host bits.
type CIDR struct{ netip.Prefix }

// UnmarshalYAML reads the range.
func (c *CIDR) UnmarshalYAML(node ast.Node) error {
	text, _ := scalar(node)
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() {
		return at(node, fmt.Sprintf("address range is %q, must be a CIDR prefix without host bits, as 149.154.160.0/20", text))
	}
	c.Prefix = p
	return nil
}

// UnmarshalYAML reads a plain string or a mapping.
func (n *NameFact) UnmarshalYAML(node ast.Node) error {
	if text, ok := scalar(node); ok {
		n.Suffix = text
		return nil
	}
	type plain NameFact
	return yaml.NodeToValue(node, (*plain)(n), yaml.Strict())
}

// UnmarshalYAML reads a plain string or a mapping.
func (t *TokenFact) UnmarshalYAML(node ast.Node) error {
	if text, ok := scalar(node); ok {
		t.Text = text
		return nil
	}
	type plain TokenFact
	return yaml.NodeToValue(node, (*plain)(t), yaml.Strict())
}

// UnmarshalYAML reads a plain string or a mapping.
func (h *HistoryFact) UnmarshalYAML(node ast.Node) error {
	if text, ok := scalar(node); ok {
		h.Path = text
		return nil
	}
	type plain HistoryFact
	return yaml.NodeToValue(node, (*plain)(h), yaml.Strict())
}

// scalar returns the text of a scalar node as it stands in the file: a date or number is not interpreted.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// positioned is an error at a place in a file.
type positioned struct {
	line, column int
	message      string
}

func (p *positioned) Error() string { return p.message }

func at(node ast.Node, message string) error {
	pos := node.GetToken().Position
	return &positioned{pos.Line, pos.Column, message}
}

// place makes "file:line:col: message" of an error of the decoder.
func place(file string, err error) error {
	var p *positioned
	if errors.As(err, &p) {
		return fmt.Errorf("%s:%d:%d: %s", file, p.line, p.column, p.message)
	}
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		pos := y.GetToken().Position
		return fmt.Errorf("%s:%d:%d: %s", file, pos.Line, pos.Column, y.GetMessage())
	}
	return fmt.Errorf("%s: %w", file, err)
}
