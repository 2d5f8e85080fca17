package policy

import (
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// List is a list of words. In YAML a single word stands for a list of one.
type List []string

var _ yaml.NodeUnmarshaler = (*List)(nil)

// UnmarshalYAML reads a word, a number or a list of them.
func (l *List) UnmarshalYAML(node ast.Node) error {
	items := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok {
		items = list.Values
	}
	*l = make(List, 0, len(items))
	for _, item := range items {
		switch n := item.(type) {
		case *ast.NullNode:
		case *ast.StringNode:
			*l = append(*l, n.Value)
		case *ast.LiteralNode:
			*l = append(*l, n.Value.Value)
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
			*l = append(*l, n.GetToken().Value)
		default:
			e := &Error{Msg: "a word or a list of words is needed here", Hint: "put what has a : in it into quotes"}
			if t := item.GetToken(); t != nil && t.Position != nil {
				e.Line, e.Column = t.Position.Line, t.Position.Column
			}
			return e
		}
	}
	return nil
}

// UnmarshalYAML reads one word for all planes, or a mapping.
func (m *Modes) UnmarshalYAML(node ast.Node) error {
	if s, ok := node.(*ast.StringNode); ok {
		*m = Modes{s.Value, s.Value, s.Value}
		return nil
	}
	type plain Modes
	return yaml.NodeToValue(node, (*plain)(m), yaml.Strict())
}
