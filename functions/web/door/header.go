package door

import (
	"net/http"
	"slices"
	"strings"
)

// What a client may not say, since those who read it take it for the word of a
// proxy, of Google or of the door.
var (
	foreignNames = []string{
		"Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip",
		"X-Request-Id", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
		// By these the transport would repeat a POST whose answer was lost.
		"Idempotency-Key", "X-Idempotency-Key",
	}
	foreignPrefixes = []string{"X-Forwarded-", "X-Serverless-", "X-Cloudscheduler", "X-Cloudtasks-", "X-Goog-", "X-Appengine-", "X-Envoy-", "X-Dashboard-"}
)

// strip takes out of a request's header what its client may not say.
func strip(h http.Header) {
	for name := range h {
		named := http.CanonicalHeaderKey(name)
		if slices.Contains(foreignNames, named) || slices.ContainsFunc(foreignPrefixes, func(prefix string) bool { return strings.HasPrefix(named, prefix) }) {
			delete(h, name)
		}
	}
}

// ours takes out of an answer's header what is said of another host than the
// door's, and the cookies that the function does not declare.
func ours(h http.Header, cookies []string) {
	h.Del("Alt-Svc")
	h.Del("Server")
	set := slices.DeleteFunc(h["Set-Cookie"], func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return !slices.Contains(cookies, strings.TrimSpace(name))
	})
	h["Set-Cookie"] = set
	if len(set) == 0 {
		h.Del("Set-Cookie")
	}
}
