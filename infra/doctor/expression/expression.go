// Package expression evaluates the CEL of attribute mappings and conditions as
// Google's token service does, and takes conditions apart to tell which part
// fails. What a failure means is left to package diagnosis.
package expression

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/parser"
)

// Most is the longest condition, in characters, that Google takes.
const Most = 4096

// effort bounds an evaluation: far more than a condition of Most characters needs
// over one token, far less than nested comprehensions could ask for.
const effort = 1_000_000

// Input is what expressions see: the token's claims, and in conditions what the
// mapping has made of them.
type Input struct {
	Assertion, Google, Attribute map[string]any
}

// Expression is one that compiles.
type Expression struct {
	env     *cel.Env
	ast     *cel.Ast
	program cel.Program
}

var (
	mappings   = sync.OnceValue(func() *cel.Env { return environment("assertion") })
	conditions = sync.OnceValue(func() *cel.Env { return environment("assertion", "google", "attribute") })
)

func environment(variables ...string) *cel.Env {
	options := []cel.EnvOption{
		cel.EnableMacroCallTracking(), cel.ParserExpressionSizeLimit(Most), cel.ParserRecursionLimit(100),
		ext.Strings(ext.StringsVersion(2)),
		cel.Function("extract", cel.MemberOverload("string_extract_string", []*cel.Type{cel.StringType, cel.StringType}, cel.StringType, cel.BinaryBinding(extract))),
	}
	for _, name := range variables {
		options = append(options, cel.Variable(name, cel.MapType(cel.StringType, cel.DynType)))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		panic(err) // the options are constants
	}
	return env
}

// Mapping compiles the right-hand side of an attribute mapping.
func Mapping(text string) (Expression, error) { return compile(mappings(), text) }

// Condition compiles an attribute condition.
func Condition(text string) (Expression, error) { return compile(conditions(), text) }

func compile(env *cel.Env, text string) (Expression, error) {
	if n := utf8.RuneCountInString(text); n > Most {
		return Expression{}, fmt.Errorf("is %d characters long, and Google takes %d", n, Most)
	}
	tree, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return Expression{}, err
	}
	program, err := env.Program(tree, cel.CostLimit(effort))
	if err != nil {
		return Expression{}, err
	}
	return Expression{env, tree, program}, nil
}

// Eval returns a string, a bool, a number or a list.
func (e Expression) Eval(in Input) (any, error) {
	value, _, err := e.program.Eval(map[string]any{"assertion": orEmpty(in.Assertion), "google": orEmpty(in.Google), "attribute": orEmpty(in.Attribute)})
	if err != nil {
		return nil, err
	}
	if list, ok := value.Value().([]ref.Val); ok {
		plain := make([]any, len(list))
		for i, v := range list {
			plain[i] = v.Value()
		}
		return plain, nil
	}
	return value.Value(), nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// Returns is the type that the expression has whatever the token: "dyn" if that
// depends on the token.
func (e Expression) Returns() string { return e.ast.OutputType().String() }

// Reads lists what the expression reads, such as assertion.ref, each once and in
// order.
func (e Expression) Reads() []string {
	var reads []string
	seen := map[string]bool{}
	ast.PreOrderVisit(e.ast.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if path := path(x); path != "" && !seen[path] {
			seen[path] = true
			reads = append(reads, path)
		}
	}))
	return reads
}

// Conjuncts are the parts that must all hold: what && joins at the top, each as
// an expression of its own.
func (e Expression) Conjuncts() []Expression { return e.split(operators.LogicalAnd) }

// Disjuncts are the parts of which one suffices.
func (e Expression) Disjuncts() []Expression { return e.split(operators.LogicalOr) }

func (e Expression) split(operator string) []Expression {
	var parts []Expression
	var walk func(ast.Expr)
	walk = func(x ast.Expr) {
		if x.Kind() == ast.CallKind && x.AsCall().FunctionName() == operator {
			for _, arg := range x.AsCall().Args() {
				walk(arg)
			}
			return
		}
		if part, err := compile(e.env, e.unparse(x)); err == nil {
			parts = append(parts, part)
		}
	}
	walk(e.ast.NativeRep().Expr())
	return parts
}

func (e Expression) unparse(x ast.Expr) string {
	text, err := parser.Unparse(x, e.ast.NativeRep().SourceInfo(), parser.WrapOnColumn(2*Most))
	if err != nil {
		return "" // does not compile, and so is no part
	}
	return text
}

// String is the expression's text in CEL's own form: one line, double quotes.
func (e Expression) String() string { return e.unparse(e.ast.NativeRep().Expr()) }

// Comparison is a claim or attribute beside what it is compared with.
type Comparison struct {
	Left     string // such as assertion.ref
	Operator string // ==, !=, in, startsWith, endsWith, contains or matches
	Literals []any  // strings, or what somebody wrote in place of one
}

var comparing = map[string]string{
	operators.Equals: "==", operators.NotEquals: "!=", operators.In: "in",
	"startsWith": "startsWith", "endsWith": "endsWith", "contains": "contains", "matches": "matches",
}

// Comparisons lists the comparisons with literals, wherever in the expression.
func (e Expression) Comparisons() []Comparison {
	var found []Comparison
	ast.PreOrderVisit(e.ast.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if c, ok := comparison(x); ok {
			found = append(found, c)
		}
	}))
	return found
}

// Comparison is the whole expression, where it is but a comparison with literals.
func (e Expression) Comparison() (Comparison, bool) { return comparison(e.ast.NativeRep().Expr()) }

func comparison(x ast.Expr) (Comparison, bool) {
	if x.Kind() != ast.CallKind {
		return Comparison{}, false
	}
	call := x.AsCall()
	operator := comparing[call.FunctionName()]
	sides := call.Args()
	if call.IsMemberFunction() {
		sides = append([]ast.Expr{call.Target()}, sides...)
	}
	if operator == "" || len(sides) != 2 {
		return Comparison{}, false
	}
	left, right := path(sides[0]), sides[1]
	if left == "" && operator != "in" {
		left, right = path(sides[1]), sides[0]
	}
	literals := literals(right)
	return Comparison{left, operator, literals}, left != "" && len(literals) > 0
}

// Literals lists every text in the expression.
func (e Expression) Literals() []string {
	var found []string
	ast.PreOrderVisit(e.ast.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.LiteralKind {
			if text, ok := x.AsLiteral().Value().(string); ok {
				found = append(found, text)
			}
		}
	}))
	return found
}

func literals(x ast.Expr) []any {
	switch x.Kind() {
	case ast.LiteralKind:
		return []any{literal(x)}
	case ast.ListKind:
		var all []any
		for _, element := range x.AsList().Elements() {
			if element.Kind() == ast.LiteralKind {
				all = append(all, literal(element))
			}
		}
		return all
	}
	return nil
}

func literal(x ast.Expr) any {
	if x.AsLiteral() == types.NullValue {
		return nil
	}
	return x.AsLiteral().Value()
}

// path is how a selection such as assertion.ref or assertion['ref'] is written,
// empty for all else.
func path(x ast.Expr) string {
	var of ast.Expr
	var name string
	switch x.Kind() {
	case ast.SelectKind:
		of, name = x.AsSelect().Operand(), x.AsSelect().FieldName()
	case ast.CallKind:
		call := x.AsCall()
		if call.FunctionName() != operators.Index || call.Args()[1].Kind() != ast.LiteralKind {
			return ""
		}
		text, ok := call.Args()[1].AsLiteral().Value().(string)
		if !ok {
			return ""
		}
		of, name = call.Args()[0], text
	default:
		return ""
	}
	if of.Kind() != ast.IdentKind {
		return ""
	}
	return of.AsIdent() + "." + name
}

// extract is Google's own function: 'a/b/c'.extract('a/{x}/') is 'b'. What stands
// before and after the braces delimits the value; nothing there reaches to the
// text's edge, and text that does not fit yields nothing.
func extract(value, template ref.Val) ref.Val {
	text, pattern := string(value.(types.String)), string(template.(types.String))
	before, rest, open := strings.Cut(pattern, "{")
	_, after, closed := strings.Cut(rest, "}")
	if !open || !closed {
		return types.NewErr("extract: the template %q names no {value}", pattern)
	}
	_, text, found := strings.Cut(text, before)
	if !found {
		return types.String("")
	}
	if after == "" {
		return types.String(text)
	}
	text, _, found = strings.Cut(text, after)
	if !found {
		return types.String("")
	}
	return types.String(text)
}
