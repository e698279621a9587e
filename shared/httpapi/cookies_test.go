package httpapi_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func TestKeepCookies(t *testing.T) {
	t.Parallel()
	names := []string{"a", "__Host-b"}
	for _, test := range []struct{ sent, kept []string }{
		{nil, nil},
		{[]string{"c=1"}, nil},
		{[]string{"a=1"}, []string{"a=1"}},
		{[]string{"A=1; aa=2; a =3;a=x=y; ; __Host-b=\"q\""}, []string{`a =3; a=x=y; __Host-b="q"`}},
		{[]string{"a=1; c=2", "c=3", "a=4"}, []string{"a=1; a=4"}},
		{[]string{"c=a=1", "a"}, []string{"a"}},
	} {
		h := http.Header{}
		if test.sent != nil {
			h["Cookie"] = test.sent
		}
		httpapi.KeepCookies(h, names)
		if diff := cmp.Diff(test.kept, h["Cookie"]); diff != "" {
			t.Errorf("%q: %s", test.sent, diff)
		}
	}
}

// seen is the input of a route that looks at cookies.
type seen struct{ names []string }

func (s *seen) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	for _, c := range r.Cookies() {
		s.names = append(s.names, c.Name)
	}
	return nil
}

func TestHandlersSeeTheCookiesThatAreDeclared(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ declared, want []string }{{nil, []string{"a", "b"}}, {[]string{}, nil}, {[]string{"b"}, []string{"b"}}} {
		var got, page []string
		house := open(t, func(api *httpapi.API) {
			api.Cookies = test.declared
			huma.Register(api, operation("GET", "/cookies"), func(_ context.Context, in *seen) (*said, error) {
				got = in.names
				return &said{"ok"}, nil
			})
			api.Handle("GET /page", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				for _, c := range r.Cookies() {
					page = append(page, c.Name)
				}
			}))
		})
		for _, path := range []string{"/cookies", "/page"} {
			if answer, body := do(t, request(t, "GET", house.URL+path, nil, "Cookie", "a=1; b=2")); answer.StatusCode != 200 {
				t.Fatalf("%d %s", answer.StatusCode, body)
			}
		}
		if diff := cmp.Diff([][]string{test.want, test.want}, [][]string{got, page}); diff != "" {
			t.Errorf("declared %q: %s", test.declared, diff)
		}
	}
}

// However a Cookie header is written: a reader of those that are kept finds them
// as before, and no others.
func FuzzKeepCookies(f *testing.F) {
	for _, seed := range []string{"a=1; b=2", "a = 1;\ta=\"2\"", "b=a=1", ";;=;a", "a=1,b=2; a=\x00", "__Host-b=1; a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		names := []string{"a", "__Host-b"}
		before := &http.Request{Header: http.Header{"Cookie": {line}}}
		want := slices.DeleteFunc(before.Cookies(), func(c *http.Cookie) bool { return !slices.Contains(names, c.Name) })
		after := &http.Request{Header: http.Header{"Cookie": {line}}}
		httpapi.KeepCookies(after.Header, names)
		if diff := cmp.Diff(want, after.Cookies()); diff != "" && len(want)+len(after.Cookies()) > 0 {
			t.Errorf("%q becomes %q: %s", line, after.Header["Cookie"], diff)
		}
	})
}
