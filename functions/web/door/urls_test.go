package door

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// two are services of which nobody comes to the second through the door.
var two = []service{
	{Name: "auth", Routes: []route{{Method: "POST", Path: "/api/auth/login", Access: "public"}}},
	{Name: "rollup", Routes: []route{{Method: "POST", Path: "/api/rollup/prune", Access: "scheduler"}}},
}

func TestFunctionURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "",
		"auth=https://auth-1.europe-west1.run.app":                    "auth=https://auth-1.europe-west1.run.app",
		" auth = https://auth.example ":                               `"auth " is no function that the door leads to; there are auth, rollup; auth is missing; add auth=https://HOST`,
		" auth= https://auth.example:8443 , rollup=https://r.example": "auth=https://auth.example:8443 rollup=https://r.example",
		"auth=http://127.0.0.1:8081":                                  "auth=http://127.0.0.1:8081",
		"auth=http://[::1]:8081":                                      "auth=http://[::1]:8081",
		"auth=http://localhost:8081":                                  "auth=http://localhost:8081",
		"auth=http://auth.example":                                    `auth: "http://auth.example" must be https: plain http is for functions on this machine alone`,
		"auth=http://10.0.0.1:8081":                                   `auth: "http://10.0.0.1:8081" must be https: plain http is for functions on this machine alone`,
		"auth=https://auth.example/":                                  `auth: "https://auth.example/" is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path`,
		"auth=https://user:secret@auth.example":                       `auth: "https://user:secret@auth.example" is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path`,
		"auth=auth.example":                                           `auth: "auth.example" is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path`,
		"auth=https://auth.example:99999":                             `auth: "https://auth.example:99999" has a port above 65535`,
		"auth":                                                        `auth: "" is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path`,
		"auth=https://a.example,auth=https://b.example":               "auth stands there twice",
		"auth=https://a.example,web=https://b.example":                `"web" is no function that the door leads to; there are auth, rollup`,
		"rollup=https://r.example":                                    "auth is missing; add auth=https://HOST",
		"auth=https://a.example,":                                     `"" is no function that the door leads to; there are auth, rollup`,
		"auth=ftp://a.example,rollup=http://b.example,x=https://c.example/?a=b#": `auth: "ftp://a.example" is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path; rollup: "http://b.example" must be https: plain http is for functions on this machine alone; "x" is no function that the door leads to; there are auth, rollup`,
	} {
		if diff := cmp.Diff(want, said(parseURLs(text, two))); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

// said writes what was read, or what is wrong.
func said(urls map[string]*url.URL, errs []error) string {
	var parts []string
	separator := " "
	for _, err := range errs {
		rest, named := strings.CutPrefix(err.Error(), "FUNCTION_URLS: ")
		if !named {
			rest = "names no setting: " + rest
		}
		parts, separator = append(parts, rest), "; "
	}
	for _, s := range two {
		if u := urls[s.Name]; u != nil && len(errs) == 0 {
			parts = append(parts, s.Name+"="+u.String())
		}
	}
	return strings.Join(parts, separator)
}

// Whatever is taken is written back as it was read, goes to one host and nowhere
// else, and is enough.
func FuzzFunctionURLs(f *testing.F) {
	for _, seed := range []string{
		"auth=https://auth-1.europe-west1.run.app", "auth=http://[::1]:1,rollup=https://x", "auth=https://a\x00b", "auth=https://a%2fb", "=,=,", "auth=https://a:0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		urls, errs := parseURLs(text, two)
		if len(errs) > 0 || len(urls) == 0 {
			return
		}
		if urls["auth"] == nil {
			t.Fatalf("%q lacks auth", text)
		}
		for name, u := range urls {
			audience := u.String()
			if !strings.Contains(text, name) || !strings.Contains(text, audience) || u.Host == "" || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" {
				t.Errorf("%q is read as %s at %q", text, name, audience)
			}
			if again, errs := parseURLs(fmt.Sprintf("auth=%s", audience), two); len(errs) > 0 || again["auth"].String() != audience {
				t.Errorf("%q is not read again: %v", audience, errs)
			}
		}
	})
}
