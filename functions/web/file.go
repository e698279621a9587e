package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// file is what is served at one address, in both of its forms.
type file struct {
	media      string
	cache      string // Cache-Control
	tag        string // names the content, for ETag
	plain      []byte
	compressed []byte // gzip
}

const (
	// revalidated files are asked for each time and mostly answered with 304.
	revalidated = "no-cache"
	// immutable files hold their hash in their name.
	immutable = "public, max-age=31536000, immutable"
)

// tagOf returns a name for content that changes when it does.
func tagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// serve answers with the form that the client takes, or says that its copy is
// current. Ranges are not offered: the files are small.
func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", f.cache)
	h.Add("Vary", "Accept-Encoding")
	body, tag := f.plain, `"`+f.tag+`"`
	zipped := takesGzip(r.Header.Values("Accept-Encoding"))
	if zipped {
		// Each form is a content of its own to caches, so it has its own tag.
		body, tag = f.compressed, `"`+f.tag+`-gz"`
	}
	h.Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if zipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// net/http drops the body of an answer to HEAD.
	_, _ = w.Write(body)
}

// takesGzip tells whether Accept-Encoding lists gzip, or anything, with a weight
// above zero (RFC 9110, 12.5.3).
func takesGzip(accept []string) bool {
	anything := false
	for _, entry := range list(accept) {
		name, parameters, _ := strings.Cut(entry, ";")
		weight := 1.0
		for parameter := range strings.SplitSeq(parameters, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if strings.EqualFold(key, "q") {
				weight, _ = strconv.ParseFloat(value, 64) // not a number: not wanted
			}
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			return weight > 0
		case "*":
			anything = weight > 0
		}
	}
	return anything
}

// matches tells whether If-None-Match names tag (RFC 9110, 13.1.2: compared
// weakly, since a proxy may have weakened it).
func matches(ifNoneMatch []string, tag string) bool {
	for _, entry := range list(ifNoneMatch) {
		if entry == "*" || strings.TrimPrefix(entry, "W/") == tag {
			return true
		}
	}
	return false
}

// list splits header fields that hold comma-separated entries. Our own tags hold
// no comma.
func list(fields []string) []string {
	var entries []string
	for _, field := range fields {
		for entry := range strings.SplitSeq(field, ",") {
			entries = append(entries, strings.TrimSpace(entry))
		}
	}
	return entries
}
