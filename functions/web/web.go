// Package web serves the dashboard, the API documentation and the API document.
// It only hands out files that were built and compressed before it was compiled
// (package bundle does so, in its test); what the pages show they ask of the
// other functions, to which package door passes on what they serve.
package web

import (
	"net/http"
	"time"

	"github.com/devops-dashboard/dashboard/functions/web/door"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// Function is the web function.
var Function = function.Function{
	Name:        "web",
	Doc:         "serves the dashboard and the API documentation, and is the front door to the other functions.",
	Needs:       []function.Need{door.Need},
	Timeout:     40 * time.Second, // of the slowest function, and what the door adds
	Concurrency: 250,              // they wait for other functions, most of them
	MemoryMiB:   256,
	Routes: func(api *httpapi.API, env *function.Env) {
		api.Handle("GET /{$}", page("app.html"))
		api.Handle("GET /api/docs", page("docs.html"))
		api.Handle("GET /favicon.svg", page("favicon.svg"))
		api.Handle("GET /api/openapi.json", secured(http.HandlerFunc(serveDocument)))
		api.Handle("GET /assets/{file}", secured(http.HandlerFunc(serveAsset)))
		door.Register(api, env)
	},
}

// policy lets the pages load what this origin serves and nothing else; no inline
// code or style, no frame around or inside them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secured has the pages do what they must and no more; the frame adds what holds
// for every answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		next.ServeHTTP(w, r)
	})
}
