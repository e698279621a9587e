package httpapi

import (
	"context"
	"net/http"
	"time"
)

// The headers by which the front door tells the frame of the function behind it
// what it knows of a request. That function is run with CLIENT_ADDRESS_HEADER set
// to ClientHeader, and nobody but the door may invoke it.
const (
	ClientHeader  = "X-Dashboard-Client"  // the client's address
	hostHeader    = "X-Dashboard-Host"    // the host that the client asked
	requestHeader = "X-Dashboard-Request" // the request's id in the door's log
)

// Introduce writes into the header of a request that is passed on what the frame
// knows of r, the one that came in. Whatever the client wrote there is to be gone
// by then.
func Introduce(h http.Header, r *http.Request) {
	record := recordOf(r.Context())
	if record.client.IsValid() {
		h.Set(ClientHeader, record.client.String())
	}
	h.Set(hostHeader, r.Host)
	h.Set(requestHeader, record.id)
	h.Set("X-Forwarded-Proto", "http")
	if isSecure(r) {
		h.Set("X-Forwarded-Proto", "https")
	}
}

// believe takes over what the door has introduced a request with: its id, so that
// both log lines and the answer name one, and the host, since the origin of the
// product's pages is the door's.
func (p Proxies) believe(record *record, r *http.Request) {
	if http.CanonicalHeaderKey(p.Header) != ClientHeader {
		return
	}
	if id := r.Header.Get(requestHeader); isHex(id, 2*requestIDBytes) {
		record.id = id
	}
	if host := r.Header.Get(hostHeader); host != "" {
		r.Host = host
	}
}

// Relay registers a route of another function, which this one passes on; it stands
// in the lists of that other function and not in this one's.
func (a *API) Relay(pattern string, timeout time.Duration, handler http.Handler) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := within(r.Context(), w, timeout)
		defer cancel()
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
}

// PassedTo is the attribute of a log line that names the function whose answer was
// passed on. That function has logged a line of the same request_id, which says
// more.
const PassedTo = "passed_to"

// PassedOn notes that the answer to a request is that of another function, which has
// told of it where it failed.
func PassedOn(ctx context.Context, function string) {
	recordOf(ctx).passedOn = true
	Note(ctx, PassedTo, function)
}

// WriteBodyProblem answers a request whose body could not be read, which limit
// bounds.
func WriteBodyProblem(w http.ResponseWriter, r *http.Request, err error, limit int64) {
	checkBody(nil, err, limit).write(w, r)
}

// within bounds the making of an answer to a time, and the sending to a while
// after it.
func within(ctx context.Context, w http.ResponseWriter, timeout time.Duration) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + writeTime))
	return context.WithTimeout(ctx, timeout)
}
