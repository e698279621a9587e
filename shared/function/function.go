// Package function is how a function is declared and run: one value says its
// name, needs, settings, schedules and routes, and everything else (the Cloud
// Run entry point, the local server, the manifest that Terraform and CI read)
// is derived from it. What the routes do is left to the functions.
package function

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// Function is one deployable unit: a Cloud Run function.
type Function struct {
	Name        string        // lower case, also its folder, service and account name
	Doc         string        // one sentence: what it is for
	Needs       []Need        // the dependencies it may open
	Settings    []Setting     // what it reads from its environment, besides what its needs bring
	Cookies     []string      // the names of those it reads or sets; the front door passes on no others
	Tables      []Grant       // what it does with the tables of PostgreSQL; its login may do no more
	Timeout     time.Duration // the longest a request may take
	Concurrency int           // requests that one instance may serve at once
	MemoryMiB   int           // the least memory an instance is given
	Schedules   []Schedule    // calls that Cloud Scheduler makes

	// Routes registers what the function serves. It does no I/O and opens
	// nothing: it is also called to print the manifest and the API document.
	Routes func(api *httpapi.API, env *Env)
}

// Need is a dependency and the settings that say where it is.
type Need struct {
	Name     string
	Settings []Setting

	// Check, if any, names all that is wrong with the settings' values, as far as
	// it shows without asking anybody: it runs at every start. What is absent is
	// named already. The errors name settings and repeat no secret.
	Check func(setting func(name string) string) []error
}

// Setting is a value a function reads from its environment.
type Setting struct {
	Name     string
	Doc      string
	Default  string // used when unset
	Optional bool   // may be absent though there is no default
	Secret   bool   // read through package secrets: may be an sm:// reference
}

// Schedule is a call made by Cloud Scheduler.
type Schedule struct {
	Name string // unique within the function
	Cron string // unix-cron, UTC
	Path string // a POST route of the function
}

// frame are the settings that every function reads, since they say where its
// requests come from, and who is told of them.
var frame = append([]Setting{
	{Name: "TRUSTED_PROXIES", Default: "1", Doc: "how many proxies of ours append to X-Forwarded-For: 1 for Cloud Run itself, 2 behind an external load balancer, 0 for none"},
	{Name: "CLIENT_ADDRESS_HEADER", Optional: true, Doc: "a header that our proxy sets to the client's address, whatever the client sent; in place of TRUSTED_PROXIES"},
	{Name: "PUBLIC_ORIGIN", Optional: true, Doc: "where browsers find the product, such as https://dash.example.com; unset, the host that a request names"},
	{Name: "ALLOWED_ORIGINS", Optional: true, Doc: "other origins, separated by commas, whose pages may call the API with credentials"},
}, observers...)

// settings returns all that f reads besides the frame's: its needs' settings, then
// its own.
func (f Function) settings() []Setting {
	var all []Setting
	for _, n := range f.Needs {
		all = append(all, n.Settings...)
	}
	return append(all, f.Settings...)
}

// Settings returns all that fn reads: its needs' settings, then its own.
func Settings(fn Function) []Setting { return fn.settings() }
