// Package httpapi is how every function speaks HTTP: huma on the standard mux,
// faults as RFC 9457 problem documents, strict bodies, and one log line per
// request. It decides nothing about who may call; package identity guards the
// routes that ask for it.
package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Access says who may call a route. Every operation names one of these as its
// Security; the manifest carries it to the front door.
var (
	// Public routes answer anybody.
	Public = []map[string][]string{{}}
	// Bearer routes want an access token.
	Bearer = []map[string][]string{{"access_token": {}}}
	// Session routes read the refresh cookie.
	Session = []map[string][]string{{"session_cookie": {}}}
	// Scheduler routes are called by Cloud Scheduler; the front door hides them.
	Scheduler = []map[string][]string{{"scheduler": {}}}
)

// RefreshCookie is the name of the cookie that holds the refresh token. The
// prefix makes browsers insist on Secure, Path=/ and no Domain.
const RefreshCookie = "__Host-dd_rt"

// JSONBodyBytes is the largest JSON body that is read, unless an operation's
// MaxBodyBytes says otherwise.
const JSONBodyBytes = 64 << 10

// API registers the routes of one function: operations by Register, and plain
// handlers for pages and files.
type API struct {
	huma.API
	// Guard proves who calls a Bearer route. It returns the context for the
	// handler, or a fault. Without one, Bearer routes refuse everybody.
	Guard func(huma.Context) (context.Context, error)
	// GuardScheduler proves that the scheduler calls a Scheduler route, or returns a
	// fault. Without one, Scheduler routes refuse everybody.
	GuardScheduler func(huma.Context) error
	// Limit admits a call by passing it on, or refuses it with a fault before its body
	// is read. It is asked after Guard, which makes callers
	// known. Without one, nothing is limited.
	Limit func(ctx huma.Context, next func(huma.Context)) error
	// Cookies are the names of those that handlers get to see; nil is all.
	Cookies []string
	// Late leaves what huma makes of a route, its schemas and rules, to the first
	// request for it, so that a new instance answers one route at the price of
	// one. Such routes are not in OpenAPI and Served.
	Late bool

	mux     *http.ServeMux
	timeout time.Duration
	pages   []Route
}

// Route is one line of the manifest.
type Route struct {
	Method, Path, Access string
	BodyBytes            int64 // the largest body that is read; 0 where none is
	Limits               []Limit
}

// Limit is how many requests a route takes from one subject, evenly over a time.
type Limit struct {
	Name     string `json:"name"`
	By       string `json:"by"`
	Requests int    `json:"requests"`
	Seconds  int    `json:"seconds"`
}

// LimitsExtension is where the document of an operation names its limits, a
// []Limit.
const LimitsExtension = "x-rate-limits"

// New returns an API whose routes are served by mux, each within timeout (0 for
// none).
func New(mux *http.ServeMux, timeout time.Duration) *API {
	config := huma.DefaultConfig("DevOps Dashboard", "1")
	config.Info.Description = "A team's delivery metrics, computed from its own history."
	config.CreateHooks = nil // no $schema links in answers
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"access_token":   {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "The access token that sign-in and refresh answer with."},
		"session_cookie": {Type: "apiKey", In: "cookie", Name: RefreshCookie, Description: "The refresh token, set by sign-in."},
		"scheduler":      {Type: "http", Scheme: "bearer", Description: "Google's identity token for the account of the schedule."},
	}
	api := &API{API: humago.New(mux, config), mux: mux, timeout: timeout}
	document := api.OpenAPI()
	document.OnAddOperation = append(document.OnAddOperation, api.addRefusals)
	api.UseMiddleware(api.cookies, api.deadline, api.guard, api.limit, readBody)
	return api
}

// Register serves an operation as huma.Register does, now or Late.
func Register[I, O any](a *API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	if !a.Late {
		huma.Register(a, op, handler)
		return
	}
	route := sync.OnceValue(func() *http.ServeMux {
		mux := http.NewServeMux()
		alone := New(mux, a.timeout)
		alone.Guard, alone.GuardScheduler, alone.Limit, alone.Cookies = a.Guard, a.GuardScheduler, a.Limit, a.Cookies
		huma.Register(alone, op, handler)
		return mux
	})
	a.mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) { route().ServeHTTP(w, r) })
}

// addRefusals documents what the frame itself may answer on any route.
func (a *API) addRefusals(document *huma.OpenAPI, op *huma.Operation) {
	statuses := []int{http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if who := access(op); who == "bearer" || who == "scheduler" {
		statuses = append(statuses, http.StatusUnauthorized)
	}
	problem := document.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	for _, status := range statuses {
		if code := strconv.Itoa(status); op.Responses[code] == nil {
			op.Responses[code] = &huma.Response{
				Description: http.StatusText(status),
				Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
			}
		}
	}
}

// Config lets huma find the settings behind the embedded API.
func (a *API) Config() huma.Config { return a.API.(interface{ Config() huma.Config }).Config() }

// Handle registers a public page or file: pattern is "METHOD /path".
func (a *API) Handle(pattern string, handler http.Handler) {
	method, path, _ := strings.Cut(pattern, " ")
	a.pages = append(a.pages, Route{Method: method, Path: path, Access: "public"})
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a.keepCookies(r)
		ctx, cancel := a.within(r.Context(), w)
		defer cancel()
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Served lists the routes registered so far, ordered by path and method.
func (a *API) Served() []Route {
	routes := slices.Clone(a.pages)
	for path, item := range a.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				limits, _ := op.Extensions[LimitsExtension].([]Limit)
				routes = append(routes, Route{op.Method, path, access(op), bodyBytes(op), limits})
			}
		}
	}
	slices.SortFunc(routes, func(a, b Route) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	return routes
}

// access is the name of the operation's one security requirement.
func access(op *huma.Operation) string {
	if len(op.Security) != 1 {
		panic(op.OperationID + ": name exactly one of httpapi.Public, Bearer, Session, Scheduler as Security")
	}
	switch {
	case op.Security[0]["access_token"] != nil:
		return "bearer"
	case op.Security[0]["session_cookie"] != nil:
		return "session"
	case op.Security[0]["scheduler"] != nil:
		return "scheduler"
	}
	return "public"
}

// cookies hides those that the function does not declare, so that the declaration
// by which the front door passes them on cannot be too short unnoticed.
func (a *API) cookies(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	a.keepCookies(r)
	next(ctx)
}

func (a *API) keepCookies(r *http.Request) {
	if a.Cookies != nil {
		KeepCookies(r.Header, a.Cookies)
	}
}

// deadline ends the work of a request at the function's timeout.
func (a *API) deadline(ctx huma.Context, next func(huma.Context)) {
	_, w := humago.Unwrap(ctx)
	timed, cancel := a.within(ctx.Context(), w)
	defer cancel()
	next(huma.WithContext(ctx, timed))
}

// within bounds an answer to the function's timeout, if there is one.
func (a *API) within(ctx context.Context, w http.ResponseWriter) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return ctx, func() {}
	}
	return within(ctx, w, a.timeout)
}

func (a *API) guard(ctx huma.Context, next func(huma.Context)) {
	who := access(ctx.Operation())
	if who != "public" {
		ctx.SetHeader("Cache-Control", "no-store") // what one caller may see is kept by no cache
	}
	known, err := ctx.Context(), error(nil)
	switch {
	case who == "bearer" && a.Guard == nil:
		panic(ctx.Operation().OperationID + ": a Bearer route in a function that did not call access.Protect")
	case who == "scheduler" && a.GuardScheduler == nil:
		panic(ctx.Operation().OperationID + ": a Scheduler route in a function that did not call scheduler.Protect")
	case who == "bearer":
		known, err = a.Guard(ctx)
	case who == "scheduler":
		err = a.GuardScheduler(ctx)
	}
	if err != nil {
		writeFault(a, ctx, err)
		return
	}
	next(huma.WithContext(ctx, known))
}

func (a *API) limit(ctx huma.Context, next func(huma.Context)) {
	if a.Limit == nil {
		next(ctx)
		return
	}
	if err := a.Limit(ctx, next); err != nil {
		writeFault(a, ctx, err)
	}
}
