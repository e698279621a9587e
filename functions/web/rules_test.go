package web_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/evanw/esbuild/pkg/api"
	"github.com/google/go-cmp/cmp"
)

// TestPageRules runs the rules of the pages (TypeScript without a page) where
// they run in earnest: in a browser.
func TestPageRules(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	built := api.Build(api.BuildOptions{
		Stdin: &api.StdinOptions{
			Contents:   `export * from "./days"; export * from "./words"; export * from "./choice"; export * from "./fragment"; export * from "./openapi"; export * from "./calendar-rules";`,
			ResolveDir: "page",
			Loader:     api.LoaderTS,
		},
		Bundle: true, Format: api.FormatIIFE, GlobalName: "rules", Tsconfig: "page/tsconfig.json",
	})
	if len(built.Errors) > 0 {
		t.Fatal(built.Errors)
	}
	b.do(chromedp.Evaluate[chromedp.Void](string(built.OutputFiles[0].Contents)+";0"), chromedp.Evaluate[chromedp.Void]("void Object.assign(globalThis, rules)"))

	for expression, want := range map[string]any{
		// Durations: never more exact than they are, never 0 for none.
		`duration(null)`:       "–",
		`duration(0)`:          "0 s",
		`duration(45.4)`:       "45 s",
		`duration(59.6)`:       "1 min",
		`duration(12 * 60)`:    "12 min",
		`duration(3599)`:       "1 h",
		`duration(15_600)`:     "4 h 20 min",
		`duration(86_399)`:     "1 d",
		`duration(267_840)`:    "3.1 d",
		`duration(8_640_000)`:  "100 d",
		`duration(-90)`:        "−2 min",
		`axisDuration(0)`:      "0",
		`axisDuration(1800)`:   "30 min",
		`axisDuration(7200)`:   "2 h",
		`axisDuration(432000)`: "5 d",

		`count(1234567)`:        "1,234,567",
		`counted(1, "day")`:     "1 day",
		`counted(0, "day")`:     "0 days",
		`rounded(0)`:            "0",
		`rounded(0.004)`:        "< 0.01",
		`rounded(0.2549)`:       "0.25",
		`rounded(2.345)`:        "2.3",
		`rounded(1234.5)`:       "1,235",
		`rounded(1.1153)`:       "1.1",
		`longDay("2026-11-22")`: "Sun, 22 Nov 2026",
		// An instant is written as the team's clock showed it, also over the
		// change to winter time.
		`moment("2026-10-25T00:30:00Z", "Europe/Berlin")`: "25 Oct 2026, 02:30",
		`moment("2026-10-25T01:30:00Z", "Europe/Berlin")`: "25 Oct 2026, 02:30",

		// Days.
		`today("Pacific/Kiritimati", new Date("2026-12-31T10:00:00Z"))`: "2027-01-01",
		`today("Pacific/Niue", new Date("2026-12-31T10:59:59Z"))`:       "2026-12-30",
		// A zone that the browser does not know is read as UTC.
		`today("Mars/Olympus", new Date("2026-12-31T23:59:59Z"))`: "2026-12-31",
		`knownZone("Mars/Olympus")`:                               "UTC",
		`knownZone("")`:                                           "UTC",
		`knownZone("Asia/Tokyo")`:                                 "Asia/Tokyo",
		`addDays("2024-02-28", 2)`:                                "2024-03-01",
		`addMonths("2026-08-31", -6)`:                             "2026-02-28",
		`addMonths("2024-03-31", -1)`:                             "2024-02-29",
		`addMonths("2026-01-15", -12)`:                            "2025-01-15",
		`weekday("2026-11-22")`:                                   6.0,
		`daysBetween("2026-10-01", "2026-11-01")`:                 31.0,

		// Ranges: both ends belong to them.
		`span("4w", "2026-11-22", null, null)`:                  m{"from": "2026-10-26", "to": "2026-11-22"},
		`span("12w", "2026-11-22", null, null)`:                 m{"from": "2026-08-31", "to": "2026-11-22"},
		`span("6m", "2026-11-22", null, null)`:                  m{"from": "2026-05-23", "to": "2026-11-22"},
		`span("12m", "2026-11-22", null, null)`:                 m{"from": "2025-11-23", "to": "2026-11-22"},
		`span("all", "2026-11-22", null, null)`:                 m{"from": "2026-11-22", "to": "2026-11-22"},
		`span("all", "2026-11-22", "2025-01-02", "2026-03-04")`: m{"from": "2025-01-02", "to": "2026-03-04"},
		`span("all", "2026-11-22", "2005-04-07", "2012-03-04")`: m{"from": "2007-03-05", "to": "2012-03-04"}, // 1,827 days
		`span("all", "2026-11-22", "2025-01-02", "2038-01-19")`: m{"from": "2025-01-02", "to": "2026-11-22"}, // a clock in the future
		`span("all", "2026-11-22", "2030-01-01", "2038-01-19")`: m{"from": "2026-11-22", "to": "2026-11-22"},
		`span("all", "2026-11-22", "1969-12-31", "1972-01-01")`: m{"from": "1970-01-01", "to": "1972-01-01"},
		`daysBetween("2007-03-05", "2012-03-04") + 1`:           1827.0,

		// What "all" cannot hold is neither called all nor left unsaid.
		`older("2026-11-22", null, null)`:                 nil,
		`older("2026-11-22", "2007-03-05", "2012-03-04")`: nil,
		`older("2026-11-22", "2007-03-04", "2012-03-04")`: m{"from": "2007-03-04", "to": "2007-03-04"},
		`older("2026-11-22", "2014-03-12", "2038-01-19")`: m{"from": "2014-03-12", "to": "2021-11-21"},
		`older("2026-11-22", "2030-01-01", "2038-01-19")`: nil,
		`older("2026-11-22", "1969-12-31", "1972-01-01")`: m{"from": "1969-12-31", "to": "1969-12-31"},
		`ranges.map((r) => rangeName(r, false))`:          []any{"4 weeks", "12 weeks", "6 months", "12 months", "All"},
		`ranges.map((r) => rangeName(r, true))`:           []any{"4 weeks", "12 weeks", "6 months", "12 months", "5 years"},

		// The address: what it does not know is left out.
		`parse("?service=s&environment=production&range=12w&bucket=day")`: m{"service": "s", "environment": "production", "range": "12w", "bucket": "day"},
		`parse("?range=13w&bucket=hour&service=&x=1")`:                    m{},
		`print({})`:                                     "",
		`print({range: "all", bucket: "month"})`:        "?range=all&bucket=month",
		`parse(print({service: "a&b=c", range: "4w"}))`: m{"service": "a&b=c", "range": "4w"},

		// Another team has other services; what is taken away is not written down.
		`parse("?team=t&service=s")`:                                                                                          m{"team": "t", "service": "s"},
		`changed({team: "t", service: "s", range: "4w"}, {team: "u"})`:                                                        m{"team": "u", "range": "4w"},
		`changed({service: "s", range: "4w"}, {team: "u", service: "r"})`:                                                     m{"team": "u", "service": "r", "range": "4w"},
		`changed({team: "t", service: "s"}, {team: "t"})`:                                                                     m{"team": "t", "service": "s"},
		`changed({team: "t", service: "s"}, {team: undefined})`:                                                               m{},
		`changed({team: "t", environment: "e"}, {service: "s"})`:                                                              m{"team": "t", "environment": "e", "service": "s"},
		`changed({range: "4w"}, {range: "12w", bucket: "week"})`:                                                              m{"range": "12w"},
		`teamOf({team: "t"}, [{id: "u"}, {id: "t"}], [])`:                                                                     "t",
		`teamOf({team: "x", service: "s"}, [{id: "u"}, {id: "t"}], [{id: "r", team: {id: "u"}}, {id: "s", team: {id: "t"}}])`: "t",
		`teamOf({}, [{id: "u"}, {id: "t"}], [{id: "s", team: {id: "t"}}])`:                                                    "t",
		`teamOf({}, [{id: "u"}, {id: "t"}], [])`:                                                                              "u",
		`teamOf({}, [], []) === undefined`:                                                                                    true,

		// What stands behind the #.
		`read("#invitation=dd_lnk_a")`:   m{"by": "link", "secret": "dd_lnk_a"},
		`read("#password=+dd_lnk_a%20")`: m{"by": "link", "secret": "dd_lnk_a"},
		`read("#owner=")`:                m{"by": "link", "secret": ""},
		`read("#github=denied")`:         m{"by": "github", "became": "denied", "login": "", "name": "", "email": ""},
		`read("#github=nonsense")`:       nil,
		`read("#settings=team")`:         nil,
		`read("")`:                       nil,
		`read("#github=link&login=l&name=A+B&email=a%40b").name`:   "A B",
		`read("#github=link&name=" + "n".repeat(999)).name.length`: 254.0,
		`secretIn(" https://d.example/#invitation=dd_lnk_a\n")`:    "dd_lnk_a",
		`secretIn("dd_lnk_a")`:                            "dd_lnk_a",
		`viewOf("")`:                                      "figures",
		`viewOf("#figures")`:                              "figures",
		`viewOf("#settings=nonsense")`:                    "team",
		`views.every((v) => viewOf(fragmentOf(v)) === v)`: true,

		// Names: what is not seen, or turns what stands around it, is written out.
		`visible("Ada \u202eadA\u2069\u0000\u00ad\u2028")`:  "Ada [U+202E]adA[U+2069][U+0000][U+00AD][U+2028]",
		`visible("नमस्\u200dते 👩\u200d🚀 ❤\ufe0f Zoë שלום")`: "नमस्\u200dते 👩\u200d🚀 ❤\ufe0f Zoë שלום",
		`visible("\ud800\u3164\u2800")`:                     "[U+D800][U+3164][U+2800]",
		`isolated("שלום")`:                                  "\u2068שלום\u2069",

		// The calendar.
		`split("2025-11-23", "2026-11-22")`: []any{m{"from": "2025-11-23", "to": "2026-11-22"}},
		`split("2024-06-05", "2026-11-22")`: []any{
			m{"from": "2026-01-01", "to": "2026-11-22"}, m{"from": "2025-01-01", "to": "2025-12-31"}, m{"from": "2024-06-05", "to": "2024-12-31"},
		},
		`levels([])`:                       []any{1.0, 1.0, 1.0},
		`levels([1, 1, 1, 1])`:             []any{2.0, 2.0, 2.0},
		`levels([8, 1, 2, 3, 4, 5, 6, 7])`: []any{4.0, 6.0, 8.0},
		`[0, 1, 3, 4, 6, 8, 99].map((n) => level(n, [4, 6, 8]))`: []any{0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0},
		`level(1, levels([1, 1]))`:                               1.0,
	} {
		if diff := cmp.Diff(want, eval[any](b.tab, expression)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expression, diff)
		}
	}
	b.expectQuiet()
}

type m = map[string]any

// The examples in the documentation must fit what they are examples of.
func TestDocumentationRules(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{"page/openapi.ts"}, Bundle: true, Format: api.FormatIIFE, GlobalName: "openapi",
	})
	if len(built.Errors) > 0 {
		t.Fatal(built.Errors)
	}
	document := m{
		"info": m{"title": "T"},
		"components": m{"schemas": m{
			"Person": m{"type": "object", "required": []string{"name"}, "properties": m{
				"name":  m{"type": "string", "description": "What to call them.", "maxLength": 80, "minLength": 1, "examples": []string{"Ada"}},
				"child": m{"$ref": "#/components/schemas/Person"}, // holds itself
				"born":  m{"type": []string{"string", "null"}, "format": "date"},
				"kind":  m{"type": "string", "enum": []string{"a", "b"}, "default": "b"},
				"n":     m{"type": "integer", "minimum": 5, "maximum": 9},
				"open":  m{"type": "object", "additionalProperties": m{"type": "boolean"}},
				"tags":  m{"type": "array", "items": m{"type": "string", "format": "uuid"}},
			}},
		}},
		"paths": m{"/api/people/{id}": m{
			"post": m{
				"operationId": "add", "summary": "Add it's own", "tags": []string{"people"}, "security": []m{{"access_token": []string{}}},
				"parameters": []m{
					{"name": "id", "in": "path", "required": true, "schema": m{"type": "string"}},
					{"name": "limit", "in": "query", "schema": m{"type": "integer"}},
					{"name": "q", "in": "query", "required": true, "schema": m{"type": "string", "examples": []string{"a b"}}},
				},
				"requestBody": m{"content": m{"application/json": m{"schema": m{"type": "object", "properties": m{"name": m{"type": "string", "examples": []string{"it's"}}}}}}},
			},
			"get": m{"operationId": "read"},
		}},
	}
	b.do(chromedp.Evaluate[chromedp.Void](string(built.OutputFiles[0].Contents) + "; Object.assign(globalThis, openapi); var d = " + quoted(document) + "; 0"))
	for expression, want := range map[string]any{
		`operationsOf(d).map((g) => [g.tag, g.operations.map((o) => o.method + " " + o.id)])`: []any{[]any{"other", []any{"GET read"}}, []any{"people", []any{"POST add"}}},
		`operationsOf(d, " ADD ").length`:   1.0,
		`operationsOf(d, "nothing").length`: 0.0,
		`outline(d, {$ref: "#/components/schemas/Person"}).filter((r) => r.depth === 0).map((r) => [r.name, r.type, r.required, r.doc])`: []any{
			[]any{"born", "string (date) or null", false, ""},
			[]any{"child", "object", false, ""},
			[]any{"kind", "string", false, `One of a, b. By default "b".`},
			[]any{"n", "integer", false, "From 5 to 9."},
			[]any{"name", "string", true, "What to call them. At most 80 characters, at least 1."},
			[]any{"open", "object", false, ""},
			[]any{"tags", "list of string (uuid)", false, ""},
		},
		`Math.max(...outline(d, {$ref: "#/components/schemas/Person"}).map((r) => r.depth))`: 6.0,
		`(({child, ...rest}) => rest)(example(d, {$ref: "#/components/schemas/Person"}))`: m{
			"name": "Ada", "born": "2026-11-22", "kind": "b", "n": 5.0, "open": m{"(any name)": false}, "tags": []any{"6f1e2a0c-5b7d-4c39-9e18-2d4a7f0b3c55"},
		},
		`curl(d, operationsOf(d)[1].operations[0], "https://d.example")`: "curl -X POST 'https://d.example/api/people/text?q=a+b' \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  -H 'Content-Type: application/json' \\\n  -d '{\"name\":\"it'\\''s\"}'",
		`curl(d, operationsOf(d)[0].operations[0], "https://d.example")`: "curl 'https://d.example/api/people/{id}'",
	} {
		if diff := cmp.Diff(want, eval[any](b.tab, expression)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expression, diff)
		}
	}
}
