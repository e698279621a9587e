package door

import (
	"maps"
	"net/http"
	"slices"
)

// reply writes a function's answer over what the frame has prepared: both set the
// same headers, and the client is to see each once. Whoever writes to it begins
// with WriteHeader.
type reply struct {
	http.ResponseWriter
	header http.Header
	begun  bool
}

// Header returns the header of the answer, and that of its trailers once it has
// begun.
func (w *reply) Header() http.Header {
	if w.begun {
		return w.ResponseWriter.Header()
	}
	return w.header
}

// WriteHeader begins the answer. Hints (1xx) go through, and leave no trace in it.
func (w *reply) WriteHeader(status int) {
	h := w.ResponseWriter.Header()
	if status < http.StatusOK {
		prepared := h.Clone()
		clear(h)
		maps.Copy(h, w.header)
		w.ResponseWriter.WriteHeader(status)
		clear(h)
		maps.Copy(h, prepared)
		return
	}
	w.begun = true
	for name, values := range w.header {
		if name == "Vary" { // the answer varies by what either looks at
			for _, value := range h[name] {
				if !slices.Contains(values, value) {
					values = append(values, value)
				}
			}
		}
		h[name] = values
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach flushing.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
