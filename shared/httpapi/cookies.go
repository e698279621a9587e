package httpapi

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// KeepCookies leaves the cookies of these names in a request's header, as they
// were sent, and no others.
func KeepCookies(h http.Header, names []string) {
	var kept []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = textproto.TrimString(pair)
			name, _, _ := strings.Cut(pair, "=")
			if slices.Contains(names, textproto.TrimString(name)) {
				kept = append(kept, pair)
			}
		}
	}
	if len(kept) == 0 {
		h.Del("Cookie")
		return
	}
	h["Cookie"] = []string{strings.Join(kept, "; ")}
}
