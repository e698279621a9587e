package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Origins says from which pages a browser may call the API: those of its own
// origin, and of others that are named. A page elsewhere may be another's, and the
// browser sends the cookies of its reader along.
type Origins struct {
	Own   string   // "https://dash.example.com"; "" is whatever host a request names
	Other []string // exact origins, whose pages may call with credentials
}

// ParseOrigins reads the settings PUBLIC_ORIGIN and ALLOWED_ORIGINS. It takes an
// origin only as browsers write it: one written otherwise would never match, and
// the pages that it is meant for would be refused without a reason to be seen.
func ParseOrigins(own, others string) (Origins, error) {
	var o Origins
	for i, text := range append([]string{own}, strings.Split(others, ",")...) {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		setting := "ALLOWED_ORIGINS"
		if i == 0 {
			setting = "PUBLIC_ORIGIN"
		}
		scheme, host, isOrigin := CutOrigin(text)
		switch {
		case !isOrigin:
			return Origins{}, fmt.Errorf("%s: %q is not an origin such as https://dash.example.com", setting, text)
		case scheme == "http" && !IsLoopback(host):
			return Origins{}, fmt.Errorf("%s: %q must be https: over http browsers keep the sign-in cookie on loopback only, and everybody on the way could write the page", setting, text)
		case i == 0:
			o.Own = text
		default:
			o.Other = append(o.Other, text)
		}
	}
	return o, nil
}

// originForm is how browsers write an origin: in lower case, names in ASCII, and
// no port that the scheme implies.
var originForm = regexp.MustCompile(`^(https?)://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)

// CutOrigin cuts an origin into its scheme and its host, without the port, and
// tells whether it is one as browsers write it.
func CutOrigin(text string) (scheme, host string, ok bool) {
	parts := originForm.FindStringSubmatch(text)
	if parts == nil || parts[3] == (map[string]string{"http": ":80", "https": ":443"})[parts[1]] {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// IsLoopback tells whether a host, without its port, can only be this machine.
func IsLoopback(host string) bool { return isLocalName(host) || parseAddress(host).IsLoopback() }

func isLocalName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isSecure tells whether the browser speaks https, as far as it can be told.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// isOwn tells whether an origin is that of the product's own pages: "null" is a
// page that hides where it comes from. Where the own origin is not set it is the
// request's host with the scheme it came by: a page that plain http brought may be
// anybody's on the way, and such as chrome-extension://host is a page of none of
// ours. An https page is ours in any case, since what ends TLS in front may not
// say so.
func (o Origins) isOwn(r *http.Request, origin string) bool {
	switch {
	case o.Own != "":
		return origin == o.Own
	case r.Host == "":
		return false
	}
	return origin == "https://"+r.Host || origin == "http://"+r.Host && !isSecure(r)
}

// check refuses what a page of another site has a browser send: a write whose
// Origin is another's, whatever Sec-Fetch-Site says, or one that says so itself,
// but for the pages of other named origins. Programs send neither, and no cookies
// by themselves. It takes nothing that http.CrossOriginProtection refuses when told
// of the same origins, which for its part believes Sec-Fetch-Site alone and looks
// at no scheme.
func (o Origins) check(r *http.Request) bool {
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method) {
		return true
	}
	near := !slices.ContainsFunc(r.Header.Values("Sec-Fetch-Site"), func(site string) bool {
		return site != "same-origin" && site != "none"
	})
	origins := r.Header.Values("Origin")
	switch len(origins) {
	case 0:
		return near
	case 1:
		return slices.Contains(o.Other, origins[0]) || near && o.isOwn(r, origins[0])
	}
	return false
}

// share lets the pages of other named origins read the answer, and answers their
// browsers' preflight requests. It tells whether that was all.
func (o Origins) share(w http.ResponseWriter, r *http.Request) (answered bool) {
	if len(o.Other) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origins := r.Header.Values("Origin")
	if len(origins) != 1 || !slices.Contains(o.Other, origins[0]) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// protect sets what every answer has browsers do. A page replaces the policy of
// contents by its own.
func protect(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	// Browsers ignore it over plain http and for addresses. For localhost it would
	// take in all that runs on this machine, on other ports and over http.
	if host, _, _ := strings.Cut(r.Host, ":"); isSecure(r) && !isLocalName(host) {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
