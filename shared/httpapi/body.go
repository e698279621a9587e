package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-json-experiment/json/jsontext"
)

// readBody reads a JSON body whole, before huma does, so that each way it can be
// wrong has an answer that says what to change: type, charset, encoding, size,
// time, UTF-8, JSON, one value, no NUL (PostgreSQL's text cannot hold it).
func readBody(ctx huma.Context, next func(huma.Context)) {
	if ctx.Operation().RequestBody == nil {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	if p := checkBodyHeaders(r.Header); p != nil {
		p.write(w, r)
		return
	}
	limit := bodyBytes(ctx.Operation())
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(ctx.Operation().BodyReadTimeout)) // huma's default: 5 s
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if p := checkBody(body, err, limit); p != nil {
		p.write(w, r)
		return
	}
	recordOf(r.Context()).body = body
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(whole{ctx})
}

// bodyBytes is the largest body that an operation reads; 0 where it reads none.
func bodyBytes(op *huma.Operation) int64 {
	switch {
	case op.RequestBody == nil:
		return 0
	case op.MaxBodyBytes <= 0, op.MaxBodyBytes == 1<<20: // huma's own default, where none is named
		return JSONBodyBytes
	}
	return op.MaxBodyBytes
}

// whole is the context of a request whose body was read already. The server has
// lifted the deadline and goes on reading, to notice that the client left: the
// one that huma sets next would cancel the request while it is being answered.
type whole struct{ humaContext }

type humaContext = huma.Context // its own name clashes with its method

func (w whole) SetReadDeadline(time.Time) error { return nil }
func (w whole) Unwrap() huma.Context            { return w.humaContext }

func checkURL(r *http.Request) *Problem {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return newProblem(http.StatusBadRequest, "malformed_request", "The query cannot be read: write it as name=value&name=value, with anything else percent-encoded.")
	}
	// The whole is UTF-8 if each part is: what parts them is ASCII.
	text, _ := url.QueryUnescape(r.URL.RawQuery)
	if !utf8.ValidString(text) || !utf8.ValidString(r.URL.Path) {
		return newProblem(http.StatusBadRequest, "malformed_request", "The URL is not valid UTF-8: percent-encode the bytes of UTF-8 text.")
	}
	for name, values := range query {
		if hasNUL(name) {
			return newProblem(http.StatusBadRequest, "malformed_request", "A query parameter's name has a NUL character.")
		}
		if slices.ContainsFunc(values, hasNUL) {
			return nulProblem("query." + name)
		}
		if len(values) > 1 { // huma would take the first and pass over the rest
			p := newProblem(http.StatusUnprocessableEntity, "invalid_request", "A query parameter stands there more than once; errors names it.")
			p.Errors = []ProblemField{{"query." + name, "must be given once"}}
			return p
		}
	}
	if hasNUL(r.URL.Path) {
		return nulProblem("path")
	}
	return nil
}

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }

// nulProblem refuses the text at a location for what PostgreSQL cannot hold.
func nulProblem(at string) *Problem {
	p := newProblem(http.StatusUnprocessableEntity, "invalid_request", "Text must not contain NUL characters.")
	p.Errors = []ProblemField{{at, "must not contain NUL characters"}}
	return p
}

func checkBodyHeaders(h http.Header) *Problem {
	unsupported := func(detail string) *Problem {
		return newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", detail)
	}
	if slices.ContainsFunc(h.Values("Content-Encoding"), func(encoding string) bool { return encoding != "" && encoding != "identity" }) {
		return unsupported("Send the body without Content-Encoding; compressed bodies are not read.")
	}
	// An absent type is refused too: a cross-site form cannot then pass for JSON.
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return unsupported("Send the body as JSON, with Content-Type: application/json.")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return unsupported("Send the body in UTF-8; no other charset is read.")
	}
	return nil
}

func checkBody(body []byte, err error, limit int64) *Problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "request_too_large", fmt.Sprintf("The body is larger than the %d bytes that this route reads.", limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(http.StatusRequestTimeout, "request_too_slow", "The body did not arrive in time. Send it in one go.")
	case err != nil:
		return newProblem(http.StatusBadRequest, "malformed_request", "The body broke off before its end.")
	case !utf8.Valid(body):
		return newProblem(http.StatusBadRequest, "malformed_request", "The body is not valid UTF-8.")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return newProblem(http.StatusBadRequest, "malformed_request", "The body is empty; send a JSON object.")
	}
	return checkJSON(body)
}

// checkJSON walks through a JSON text, strictly: a name that stands twice in an
// object, or half a surrogate pair, is refused, where encoding/json takes the last
// of the two, or another text than was sent.
func checkJSON(body []byte) *Problem {
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	for first := true; first || decoder.StackDepth() > 0; first = false {
		token, err := decoder.ReadToken()
		if err != nil {
			return newProblem(http.StatusBadRequest, "malformed_request", "The body is not one JSON value: "+whatIsBroken(err)+".")
		}
		if token.Kind() == '0' {
			if _, err := strconv.ParseFloat(token.String(), 64); err != nil {
				return newProblem(http.StatusBadRequest, "malformed_request", fmt.Sprintf("The body is not one JSON value: a number in it is too large, at byte %d.", decoder.InputOffset()))
			}
		}
		if token.Kind() == '"' && hasNUL(token.String()) {
			return nulProblem(bodyLocation(decoder))
		}
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return newProblem(http.StatusBadRequest, "malformed_request", "The body is not one JSON value: something follows it, at byte "+strconv.FormatInt(decoder.InputOffset(), 10)+".")
	}
	return nil
}

// bodyLocation is where the decoder has come to, as problems name it:
// body.items[2].name. A name that has a NUL itself is not shown, but where it
// stands.
func bodyLocation(d *jsontext.Decoder) string {
	at := "body"
	for name := range d.StackPointer().Tokens() {
		switch _, err := strconv.Atoi(name); {
		case hasNUL(name):
			return at
		case err == nil:
			at += "[" + name + "]"
		default:
			at += "." + name
		}
	}
	return at
}

// whatIsBroken says what is wrong with a JSON text, without repeating it.
func whatIsBroken(err error) string {
	at := func(what string) string {
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			return fmt.Sprintf("%s, at byte %d", what, syntax.ByteOffset)
		}
		return what
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return at("an object has one name twice")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return at("it ends too early")
	}
	return at("it cannot be read on")
}
