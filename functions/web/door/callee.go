package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// callee is another function, and how it is called.
type callee struct {
	service
	at        *url.URL
	tokens    *tokens
	transport http.RoundTripper
	slots     chan struct{} // holds one for each request under way
	all       chan struct{} // likewise of all functions together
	log       *log.Logger
}

// pass passes requests on whose bodies have at most limit bytes; with 0 the body,
// which nobody would read, stays here.
func (c *callee) pass(limit int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := refuseUpgrade(r.Header); err != nil {
			httpapi.WriteProblem(w, r, err)
			return
		}
		if limit > 0 && r.ContentLength > limit {
			httpapi.WriteBodyProblem(w, r, &http.MaxBytesError{Limit: limit}, limit)
			return
		}
		for _, slots := range []chan struct{}{c.slots, c.all} {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			default:
				httpapi.WriteProblem(w, r, c.away(fmt.Errorf("%d requests are under way", cap(slots))))
				return
			}
		}
		token, err := c.token(r.Context())
		if err != nil {
			httpapi.WriteProblem(w, r, c.away(err))
			return
		}
		body := bound(w, r, limit)
		var connected atomic.Bool
		ctx, span := tracing.Call(r.Context(), "call "+c.Name)
		defer span.End()
		r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}))
		proxy := httputil.ReverseProxy{
			Transport: c.transport, FlushInterval: -1, ErrorLog: c.log, ModifyResponse: c.check,
			Rewrite: func(p *httputil.ProxyRequest) { c.rewrite(p, token) },
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if failure := body.failure(); failure != nil {
					httpapi.WriteBodyProblem(w, r, failure, limit)
					return
				}
				failure := c.fault(r.Context(), err, connected.Load())
				span.Fail(failure.Code)
				httpapi.WriteProblem(w, r, failure)
			},
		}
		proxy.ServeHTTP(&reply{ResponseWriter: w, header: http.Header{}}, r)
	}
}

// refuseUpgrade refuses to switch to another protocol. An offer of HTTP/2, which
// some clients make each time over plain http, is passed over, as it may be (RFC
// 9110, section 7.8).
func refuseUpgrade(h http.Header) error {
	if protocols := h["Upgrade"]; slices.ContainsFunc(protocols, func(p string) bool { return !strings.EqualFold(p, "h2c") }) {
		return fault.New(fault.Malformed, "no_upgrade", "No route switches to another protocol. Ask without the Upgrade header.")
	}
	h.Del("Upgrade")
	return nil
}

// token is for functions that Cloud Run guards; those on this machine, over plain
// http, have nobody who would ask for one.
func (c *callee) token(ctx context.Context) (string, error) {
	if c.at.Scheme == "http" {
		return "", nil
	}
	return c.tokens.get(ctx, c.at.String())
}

// rewrite makes the request that the function gets of the one that came in. The
// caller's own Authorization goes along: Cloud Run looks at ours alone, and takes
// its signature off.
func (c *callee) rewrite(p *httputil.ProxyRequest, token string) {
	h := p.Out.Header
	strip(h)
	httpapi.KeepCookies(h, c.Cookies)
	httpapi.Introduce(h, p.In)
	tracing.Inject(p.In.Context(), h)
	if token != "" {
		h.Set("X-Serverless-Authorization", "Bearer "+token)
	}
	p.SetURL(c.at)
}

// errForeign is an answer that is not the function's own.
type errForeign struct{ status int }

func (e errForeign) Error() string {
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("Cloud Run answered %d for it: let this function's account invoke it (roles/run.invoker)", e.status)
	case http.StatusNotFound:
		return "something else answered 404 for it: correct FUNCTION_URLS"
	}
	return fmt.Sprintf("something else answered %d for it", e.status)
}

// check looks at the head of an answer. A function's frame gives each an id;
// without one it comes from what stands before the function, and a 401 of that
// must not pass for the end of somebody's session.
func (c *callee) check(res *http.Response) error {
	if res.Header.Get("X-Request-Id") == "" {
		return errForeign{res.StatusCode}
	}
	ours(res.Header, c.Cookies)
	httpapi.PassedOn(res.Request.Context(), c.Name)
	return nil
}

// fault says why there is no answer. What had no connection was not asked.
func (c *callee) fault(ctx context.Context, err error, connected bool) *fault.Error {
	var foreign errForeign
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Late, Code: "deadline", Detail: "The answer took too long to make. Try again shortly, or ask for less at once.", RetryAfter: retry, Cause: c.because(err)}
	case errors.As(err, &foreign) && (foreign.status == http.StatusTooManyRequests || foreign.status >= http.StatusInternalServerError),
		!connected:
		return c.away(err)
	}
	return &fault.Error{
		Kind: fault.Broken, Code: "bad_answer",
		Detail:     "A part of the service gave no answer that can be read. Whether it did what was asked is not known. Try again shortly.",
		RetryAfter: retry, Cause: c.because(err),
	}
}

const retry = 2 * time.Second

// away says that the function was not asked.
func (c *callee) away(err error) *fault.Error { return fault.Away("a part of it", c.because(err)) }

func (c *callee) because(err error) error { return fmt.Errorf("function %s: %w", c.Name, err) }

// bound bounds the body of a request.
func bound(w http.ResponseWriter, r *http.Request, limit int64) *body {
	if limit == 0 {
		r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
		r.Header.Del("Expect")
		return &body{ReadCloser: r.Body}
	}
	b := &body{ReadCloser: http.MaxBytesReader(w, r.Body, limit)}
	r.Body = b
	return b
}

// body remembers why it could not be read, which the transport does not always
// tell.
type body struct {
	io.ReadCloser
	failed atomic.Pointer[error]
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed.Store(&err)
	}
	return n, err
}

func (b *body) failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}
