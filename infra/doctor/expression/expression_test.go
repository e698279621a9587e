package expression_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
)

var in = expression.Input{
	Assertion: map[string]any{"sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "ref": "refs/heads/main", "repository_id": "74", "iat": 1.79e9},
	Google:    map[string]any{"subject": "gh:74"}, Attribute: map[string]any{"deployer": "74:prod-auth"},
}

func TestEval(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`assertion.sub.split(':')[1]`:                              "octo-org/octo-repo",
		`assertion.sub.extract('repo:{name}:ref')`:                 "octo-org/octo-repo",
		`assertion.sub.extract('{all}')`:                           "repo:octo-org/octo-repo:ref:refs/heads/main",
		`assertion.sub.extract('/heads/{branch}')`:                 "main",
		`assertion.sub.extract('{kind}:')`:                         "repo",
		`assertion.sub.extract('tags/{tag}')`:                      "",
		`assertion.sub.extract('heads/{branch}/')`:                 "",
		`[assertion.ref, 'x']`:                                     []any{"refs/heads/main", "x"},
		`assertion.repository_id == '74'`:                          true,
		`assertion.repository_id == 74`:                            false,
		`has(assertion.environment) ? 'has' : 'none'`:              "none",
		`assertion.environment == 'x' || assertion.ref != ''`:      true,
		`attribute.deployer == '74:prod-auth'`:                     true,
		`google.subject.startsWith('gh:')`:                         true,
		`assertion['repository_id'] in ['74', '75']`:               true,
		`['push'].exists(e, e == 'push') && assertion.iat > 1.0e9`: true,
	} {
		compiled, err := expression.Condition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := compiled.Eval(in); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		`assertion.ref = 'x'`:                         "token recognition error",
		`attribute.deployer`:                          "undeclared reference to 'attribute'",
		`assertion.ref.reverse()`:                     "undeclared reference to 'reverse'",
		strings.Repeat("(", 300) + "1":                "recursion",
		strings.Repeat("a", expression.Most+1):        "4097 characters",
		strings.Repeat("é", expression.Most) + "é":    "4097 characters",
		strings.Repeat("!", 200) + "assertion.a.b.c(": "rror",
	} {
		if _, err := expression.Mapping(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.30s: %v", text, err)
		}
	}
	for text, says := range map[string]string{
		`assertion.environment`:         "no such key: environment",
		`assertion.ref.extract('none')`: "names no {value}",
		`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, [1,2,3,4,5,6,7,8,9].all(f, a+b+c+d+e+f > 0))))))`: "cost limit",
	} {
		compiled, err := expression.Mapping(text)
		if err != nil {
			t.Errorf("%.40s: %v", text, err)
			continue
		}
		if _, err := compiled.Eval(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestTakenApart(t *testing.T) {
	t.Parallel()
	compiled, err := expression.Condition(`assertion.a == '1' && ('2' != assertion.b || assertion['c'] in ['3', 4]) && assertion.d.startsWith("5") && has(assertion.e) && ['6'].exists(x, x == google.f) && assertion.list[0] == attribute.g`)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, part := range compiled.Conjuncts() {
		parts = append(parts, part.String())
	}
	want := []string{`assertion.a == "1"`, `"2" != assertion.b || assertion["c"] in ["3", 4]`, `assertion.d.startsWith("5")`, `has(assertion.e)`, `["6"].exists(x, x == google.f)`, `assertion.list[0] == attribute.g`}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Error(diff)
	}
	if n := len(compiled.Conjuncts()[1].Disjuncts()); n != 2 {
		t.Errorf("%d disjuncts", n)
	}
	if diff := cmp.Diff([]string{"assertion.a", "assertion.b", "assertion.c", "assertion.d", "assertion.e", "google.f", "assertion.list", "attribute.g"}, compiled.Reads()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]expression.Comparison{
		{Left: "assertion.a", Operator: "==", Literals: []any{"1"}},
		{Left: "assertion.b", Operator: "!=", Literals: []any{"2"}},
		{Left: "assertion.c", Operator: "in", Literals: []any{"3", int64(4)}},
		{Left: "assertion.d", Operator: "startsWith", Literals: []any{"5"}},
	}, compiled.Comparisons()); diff != "" {
		t.Error(diff)
	}
	if c, ok := compiled.Conjuncts()[0].Comparison(); !ok || c.Left != "assertion.a" {
		t.Errorf("%+v, %v", c, ok)
	}
	for _, part := range compiled.Conjuncts()[3:] { // has, exists, and what has no literal
		if c, ok := part.Comparison(); ok {
			t.Errorf("%s is taken for %+v", part, c)
		}
	}
	if got := compiled.Literals(); !slices.Contains(got, "3") || !slices.Contains(got, "6") || slices.Contains(got, "e") {
		t.Error(got)
	}
	if compiled.Returns() != "bool" {
		t.Error(compiled.Returns())
	}
}

// The whole is true exactly where each part is.
func TestConjunctsAreTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var parts []string
		for range rapid.IntRange(1, 5).Draw(t, "parts") {
			claim := rapid.SampledFrom([]string{"ref", "sub", "repository_id", "environment"}).Draw(t, "claim")
			text := rapid.OneOf(rapid.SampledFrom([]string{"74", "refs/heads/main"}), rapid.StringN(0, 8, -1)).Draw(t, "text")
			operator := rapid.SampledFrom([]string{"==", "!=", "||"}).Draw(t, "operator")
			part := fmt.Sprintf("assertion.%s %s %q", claim, operator, text)
			if operator == "||" {
				part = fmt.Sprintf("(assertion.%s == %q || has(assertion.%s))", claim, text, claim)
			}
			parts = append(parts, part)
		}
		compiled, err := expression.Condition(strings.Join(parts, " && "))
		if err != nil {
			t.Skip(err.Error()) // Go's escapes are not all CEL's
		}
		whole, wholeErr := compiled.Eval(in)
		all := true
		for _, part := range compiled.Conjuncts() {
			value, err := part.Eval(in)
			all = all && err == nil && value == true
		}
		if len(compiled.Conjuncts()) != len(parts) || all != (wholeErr == nil && whole == true) {
			t.Errorf("%s: %v, %v, parts %v", compiled, whole, wholeErr, all)
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add(`assertion.repository_id == '74' && assertion.ref.matches('^refs/heads/.*$') || has(assertion.environment)`)
	f.Add(`assertion.sub.extract('repo:{x}/') in ['a', 1, null, b'x'] ? google.groups[0] : {'a': 1}.a`)
	f.Add(`[1].map(x, x * 2).exists(y, y > 1)`)
	f.Fuzz(func(t *testing.T, text string) {
		compiled, err := expression.Condition(text)
		if err != nil {
			return
		}
		value, evalErr := compiled.Eval(in)
		for _, part := range compiled.Conjuncts() {
			if got, err := part.Eval(in); value == true && evalErr == nil && (err != nil || got != true) {
				t.Errorf("%s is true, and its part %s gives %v, %v", compiled, part, got, err)
			}
		}
		compiled.Reads()
		compiled.Literals()
		compiled.Comparisons()
		compiled.Disjuncts()
	})
}
