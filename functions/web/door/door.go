// Package door is the front door: it passes on what other functions serve, so that
// browsers find all of them behind one host, where they share cookies. The
// manifest says what is served and by whom. Who is calling is left to the function
// that is called, and what a function is asked is not looked into.
package door

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// Need declares that a function passes requests on to the others.
var Need = function.Need{
	Name: "functions",
	Settings: []function.Setting{
		{Name: "FUNCTION_URLS", Optional: true, Doc: "where the other functions are, for the front door: auth=https://auth-123456789012.europe-west1.run.app,refresh=https://...; unset behind a load balancer"},
	},
	Check: func(setting func(string) string) []error {
		_, errs := parseURLs(setting("FUNCTION_URLS"), served())
		return errs
	},
}

const (
	// mostAtOnce is how many requests may be under way to one function. More are
	// turned away at once: one that has become slow would otherwise take all that
	// this instance serves, the page included. At that share of web's concurrency
	// Cloud Run has started another instance.
	mostAtOnce = 150
	// mostOfAll is how many may be under way to all of them: where what they share is
	// slow, the page still has room.
	mostOfAll = 220
	// grace is what a function gets beyond its own time limit: to start in, and to
	// say itself that it was too slow.
	grace = 5 * time.Second
	// longest is what Cloud Run gives to any request.
	longest = time.Hour
)

// Register has api pass on the routes of the other functions. Without
// FUNCTION_URLS it does nothing: something else brings requests to them.
func Register(api *httpapi.API, env *function.Env) {
	urls, errs := parseURLs(env.Setting("FUNCTION_URLS"), served())
	if len(urls) == 0 || len(errs) > 0 { // Check has told
		return
	}
	transport := newTransport()
	env.OnStop(func(context.Context) error { transport.CloseIdleConnections(); return nil })
	tokens, all := newTokens(env.Now, fromMetadata(nil)), make(chan struct{}, mostOfAll)
	for _, s := range served() {
		c := &callee{
			service: s, at: urls[s.Name], tokens: tokens, transport: transport,
			slots: make(chan struct{}, mostAtOnce), all: all, log: slog.NewLogLogger(env.Log.Handler(), slog.LevelWarn),
		}
		for _, route := range s.Routes {
			if route.passedOn() {
				api.Relay(route.Method+" "+route.Path, s.timeout(), c.pass(route.BodyBytes))
			}
		}
	}
}

// newTransport keeps what a function is asked and answers as it is. It takes no
// proxy from the environment, which would see tokens. HTTP/1.1 repeats by itself
// only what may be repeated: a request on a connection that turns out to be closed,
// if none of it was sent or it changes nothing.
func newTransport() *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    mostAtOnce,
		IdleConnTimeout:        30 * time.Second, // Cloud Run takes the CPU away between requests, and they die unseen
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}
