package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of an expression: how long it may be, and what one evaluation may cost in CEL's units (a comparison costs about one).
const (
	maxExpression  = 8192
	expressionCost = 200_000
)

// expression is a compiled CEL expression.
type expression struct {
	source            string
	program           cel.Program
	namesNotInspected bool // it asks for not_inspected itself
	hitNames          []string
	appAlone          bool // it asks for app, and not for confidence
}

// newExpressionEnv declares the variables, from the fields of vars.
func newExpressionEnv() (*cel.Env, error) {
	native := []any{ext.ParseStructTags(true)}
	for _, t := range []any{eventVar{}, partyVar{}, hostVar{}, flowVar{}, questionVar{}, webVar{}, programVar{}, attachmentVar{}, hitVar{}, spanVar{}, notInspectedVar{}} {
		native = append(native, reflect.TypeOf(t))
	}
	options := []cel.EnvOption{ext.NativeTypes(native...), ext.Strings(), cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(64)}
	t := reflect.TypeFor[vars]()
	for i := range t.NumField() {
		options = append(options, cel.Variable(t.Field(i).Tag.Get("cel"), celType(t.Field(i).Type)))
	}
	return cel.NewEnv(options...)
}

func celType(t reflect.Type) *cel.Type {
	switch t.Kind() {
	case reflect.String:
		return cel.StringType
	case reflect.Bool:
		return cel.BoolType
	case reflect.Int, reflect.Int64:
		return cel.IntType
	case reflect.Float64:
		return cel.DoubleType
	case reflect.Slice:
		return cel.ListType(celType(t.Elem()))
	}
	if t.String() == "time.Time" {
		return cel.TimestampType
	}
	return cel.ObjectType(t.String())
}

// compileExpression compiles one expression, which must be a condition.
func compileExpression(env *cel.Env, source string) (*expression, error) {
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("expression, character %d: %s", first.Location.Column()+1, first.Message)
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("expression gives %s, not true or false", checked.OutputType())
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(expressionCost))
	if err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	x := &expression{source: source, program: program}
	x.look(checked.NativeRep())
	return x, nil
}

// look notes which hit names the expression compares with, and whether it asks for not_inspected.
func (x *expression) look(a *celast.AST) {
	hit := reflect.TypeFor[hitVar]().String()
	isHitName := func(e celast.Expr) bool {
		return e.Kind() == celast.SelectKind && e.AsSelect().FieldName() == "name" &&
			a.GetType(e.AsSelect().Operand().ID()).TypeName() == hit
	}
	asks := map[string]bool{}
	defer func() { x.appAlone = asks["app"] && !asks["confidence"] }()
	visit := func(e celast.Expr) {
		switch e.Kind() {
		case celast.IdentKind:
			asks[e.AsIdent()] = true
			x.namesNotInspected = x.namesNotInspected || e.AsIdent() == "not_inspected"
		case celast.CallKind:
			call := e.AsCall()
			if !slices.Contains([]string{operators.Equals, operators.NotEquals, operators.In}, call.FunctionName()) || len(call.Args()) != 2 {
				return
			}
			left, right := call.Args()[0], call.Args()[1]
			if isHitName(left) {
				x.hitNames = append(x.hitNames, constants(right)...)
			} else if isHitName(right) {
				x.hitNames = append(x.hitNames, constants(left)...)
			}
		}
	}
	celast.PostOrderVisit(a.Expr(), celast.NewExprVisitor(visit))
}

func constants(e celast.Expr) []string {
	switch e.Kind() {
	case celast.LiteralKind:
		if s, ok := e.AsLiteral().(types.String); ok {
			return []string{string(s)}
		}
	case celast.ListKind:
		var out []string
		for _, item := range e.AsList().Elements() {
			out = append(out, constants(item)...)
		}
		return out
	}
	return nil
}

// eval evaluates the expression. An error and a spent limit come back as an error: never as "no match".
func (x *expression) eval(a *activation) (bool, error) {
	out, _, err := x.program.Eval(a)
	if err != nil {
		return false, err
	}
	answer, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("expression gave %s", out.Type().TypeName())
	}
	return bool(answer), nil
}

// activation gives an expression its variables, each made when it is first asked for.
type activation struct {
	f     *facts
	known map[string]any
}

// Parent returns nil: there is nothing around it.
func (a *activation) Parent() interpreter.Activation { return nil }

// ResolveName returns the variable of that name.
func (a *activation) ResolveName(name string) (any, bool) {
	e := a.f.in.Event
	switch name {
	case "text":
		return e.Text, true
	case "room":
		return e.Room.Name, true
	case "app":
		return a.f.app, true
	case "confidence":
		return a.f.sure.Float(), true
	case "service":
		return a.f.service, true
	case "leaves_org":
		return a.f.leavesOrg(), true
	}
	if v, ok := a.known[name]; ok {
		return v, true
	}
	v, ok := a.build(name)
	if ok {
		if a.known == nil {
			a.known = make(map[string]any, 4)
		}
		a.known[name] = v
	}
	return v, ok
}

func (a *activation) build(name string) (any, bool) {
	e := a.f.in.Event
	switch name {
	case "event":
		return eventOf(e), true
	case "sender":
		return a.f.p.partyOf(&e.From), true
	case "audience":
		out := make([]partyVar, 0, len(e.To)+len(e.Audience))
		for _, list := range [][]event.Party{e.To, e.Audience} {
			for i := range list {
				out = append(out, a.f.p.partyOf(&list[i]))
			}
		}
		return out, true
	case "files":
		out := make([]attachmentVar, len(e.Files))
		for i, f := range e.Files {
			out[i] = attachmentVar{f.Name, f.Type, f.Size, f.SHA256}
		}
		return out, true
	case "hits":
		return hitsOf(e.Hits, a.f.p.adapter), true
	case "not_inspected":
		return a.f.notInspected(), true
	}
	return nil, false
}

func (p *Policy) partyOf(party *event.Party) partyVar {
	return partyVar{party.Handle, party.Person, party.Groups, p.isInternal(party.Handle)}
}

func eventOf(e *event.Event) eventVar {
	out := eventVar{Kind: string(e.Kind), Phase: e.Phase, Time: e.Time, Connector: e.Connector, Source: e.Source, Subject: e.Subject,
		Host: hostVar{e.Host.Name, e.Host.Address, e.Host.Person}}
	if f := e.Flow; f != nil {
		out.Flow = flowVar{f.Proto, f.Client, f.Server, f.Name, f.Service, f.JA4, f.ALPN, f.Packets, f.Bytes}
	}
	if q := e.Question; q != nil {
		out.Question = questionVar{q.Name, q.Type, q.Client}
	}
	if w := e.Web; w != nil {
		out.Web = webVar{w.Method, w.URL}
	}
	if p := e.Program; p != nil {
		out.Program = programVar{p.Path, p.Form, p.Format, p.Version, p.Publisher, p.SHA256, p.Size, p.Media}
	}
	return out
}

// Variables lists the variables of expressions and their fields, one "name type: meaning" a line.
func Variables() []string {
	var out []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, inner, kind := prefix+f.Tag.Get("cel"), f.Type, celType(f.Type).String()
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
				name += "[]"
			}
			nested := inner.Kind() == reflect.Struct && inner.String() != "time.Time"
			if nested {
				kind = "fields"
			}
			out = append(out, fmt.Sprintf("%s %s: %s", name, strings.TrimPrefix(kind, "google.protobuf."), f.Tag.Get("doc")))
			if nested {
				walk(name+".", inner)
			}
		}
	}
	walk("", reflect.TypeFor[vars]())
	return out
}
