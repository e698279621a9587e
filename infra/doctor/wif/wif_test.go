package wif_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
)

func example(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/wif.json")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseReadsBothForms(t *testing.T) {
	t.Parallel()
	alone, err := wif.Parse(example(t))
	if err != nil {
		t.Fatal(err)
	}
	among, err := wif.Parse([]byte(`{"url":{"value":"x"},"wif":{"sensitive":false,"type":["object",{}],"value":` + string(example(t)) + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(alone, among); diff != "" || alone.Deployers["web"].Environment != "prod-web" {
		t.Error(diff)
	}
}

func TestParseSaysWhatToPass(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                                   "is empty",
		"wif = {}":                           "with -json",
		"[]":                                 "is a list, and not the object",
		"true":                               "is true or false, and not the object",
		"7":                                  "is a number, and not",
		"null":                               "no pool and no provider",
		`{"wif":{"value":[]}}`:               "is a list",
		`{"wif":{"value":null}}`:             "no pool and no provider",
		"{}":                                 "no pool and no provider",
		`{"wif":{"value":"x"}}`:              "string",
		`{"wif":{}}`:                         "without a value",
		`{"pool":[]}`:                        "pool is a array, where",
		`{"project_number": 123}`:            "project_number is a number, where string is wanted",
		strings.Repeat(" ", wif.Most) + "{}": "longer than 4 MiB",
	} {
		if _, err := wif.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte(`{"wif":{"value":{"pool":{"id":"x"}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := wif.Parse(text)
		if err == nil && c.Pool == (wif.Pool{}) && c.Provider.Name == "" {
			t.Errorf("%+v", c)
		}
	})
}
