package function

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// Lookup finds a setting's value by its name, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Env is what a function's Routes may take from: the clock, the log, settings
// and the dependencies it declared. Routes passes the parts on by name; no
// handler holds an Env. Nothing is opened before the first request that uses it.
type Env struct {
	Now func() time.Time
	Log *slog.Logger

	lookup  Lookup
	apart   func(function string) Lookup // nil: all functions have lookup
	fn      Function
	process *process
}

// process is what all functions of one process share.
type process struct {
	mu     sync.Mutex         // guards opened
	opened map[string]*opened // by need and its settings, or by the name of what stands behind

	stopMu sync.Mutex // guards stops; apart, since open functions call OnStop
	stops  []func(context.Context) error
	ends   []func(context.Context) error // before them
}

// opened is one value that they share.
type opened struct {
	once  sync.Once
	value any
}

// NewEnv returns the environment of one process. A nil lookup finds nothing,
// which is enough to list routes.
func NewEnv(log *slog.Logger, now func() time.Time, lookup Lookup) *Env {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	return &Env{Now: now, Log: log, lookup: lookup, process: &process{opened: map[string]*opened{}}}
}

// Apart gives each function of the process settings of its own, for a process
// whose functions sign in to their dependencies as different accounts.
func (e *Env) Apart(lookup func(function string) Lookup) *Env {
	own := *e
	own.apart = lookup
	return &own
}

// For returns the environment as fn may see it: with its declared settings and
// needs, and with the process's shared dependencies.
func (e *Env) For(fn Function) *Env {
	own := *e
	own.fn = fn
	if e.apart != nil {
		own.lookup = e.apart(fn.Name)
	}
	return &own
}

// Setting returns a declared setting's value, or its default. It panics on an
// undeclared name, so that the manifest cannot lie.
func (e *Env) Setting(name string) string {
	value, _ := e.Declared(name)
	return value
}

// Declared returns a setting's value and declaration. It panics on an
// undeclared name; the frame's settings every function declares.
func (e *Env) Declared(name string) (string, Setting) {
	all := slices.Concat(e.fn.settings(), frame)
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		panic(fmt.Sprintf("function %q reads setting %q without declaring it", e.fn.Name, name))
	}
	if value, ok := e.lookup(name); ok && value != "" {
		return value, all[i]
	}
	return all[i].Default, all[i]
}

// surroundings says how the frame tells where a request comes from.
func (e *Env) surroundings() (httpapi.Surroundings, error) {
	proxies, hopsErr := httpapi.ParseProxies(e.framed("TRUSTED_PROXIES"), e.framed("CLIENT_ADDRESS_HEADER"))
	origins, originErr := httpapi.ParseOrigins(e.framed("PUBLIC_ORIGIN"), e.framed("ALLOWED_ORIGINS"))
	return httpapi.Surroundings{Proxies: proxies, Origins: origins}, errors.Join(hopsErr, originErr)
}

// framed returns a setting of the frame.
func (e *Env) framed(name string) string {
	if value, ok := e.lookup(name); ok && value != "" {
		return value
	}
	return frame[slices.IndexFunc(frame, func(s Setting) bool { return s.Name == name })].Default
}

// PublicOrigin returns where browsers find the product, or "" where nobody has said.
func (e *Env) PublicOrigin() string { return e.framed("PUBLIC_ORIGIN") }

// Release returns the deployed commit, or "dev" when the build does not know it.
func (e *Env) Release() string {
	if v, ok := e.lookup("RELEASE"); ok && v != "" {
		return v
	}
	return buildRevision()
}

// unusable names the settings that fn needs and does not have, and those that
// its needs cannot use.
func (e *Env) unusable() error {
	var errs []error
	for _, s := range e.fn.settings() {
		value, _ := e.lookup(s.Name)
		if value == "" && s.Default == "" && !s.Optional {
			errs = append(errs, fmt.Errorf("%s: set %s (%s)", e.fn.Name, s.Name, s.Doc))
		}
	}
	for _, n := range e.fn.Needs {
		if n.Check == nil {
			continue
		}
		for _, err := range n.Check(e.Setting) {
			errs = append(errs, fmt.Errorf("%s: %w", e.fn.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Shared returns the process's one value for a need, made by open at the first
// call, so that several functions in one process share a connection pool. Those
// share it whose settings for the need are the same: an account of one function
// is not lent to another. The function must have declared the need. open must not
// do I/O.
func Shared[T any](e *Env, need Need, open func() T) T {
	if !slices.ContainsFunc(e.fn.Needs, func(n Need) bool { return n.Name == need.Name }) {
		panic(fmt.Sprintf("function %q uses %s without declaring the need", e.fn.Name, need.Name))
	}
	key := need.Name
	for _, s := range need.Settings {
		value, _ := e.lookup(s.Name)
		key += "\x00" + value
	}
	return Once(e, key, open)
}

// Once is Shared for what stands behind a dependency and is no need of its own,
// such as the client through which several settings are read.
func Once[T any](e *Env, name string, open func() T) T {
	shared := e.process.named(name)
	shared.once.Do(func() { shared.value = open() }) // which may open what stands behind it
	return shared.value.(T)
}

func (p *process) named(name string) *opened {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened[name] == nil {
		p.opened[name] = &opened{}
	}
	return p.opened[name]
}

// OnStop has stop called when the process ends, after the last request, latest
// first.
func (e *Env) OnStop(stop func(context.Context) error) {
	e.process.stopMu.Lock()
	defer e.process.stopMu.Unlock()
	e.process.stops = append(e.process.stops, stop)
}

// Stop tells those outside what is still to be told, and closes what was opened,
// latest first. When ctx ends before that, it
// leaves the rest: a pool waits for connections that a request still holds.
func (e *Env) Stop(ctx context.Context) error {
	e.process.stopMu.Lock()
	stops, ends := e.process.stops, e.process.ends
	e.process.stops, e.process.ends = nil, nil
	e.process.stopMu.Unlock()
	untold := tellRest(ctx, ends)
	closed := make(chan error, 1)
	go func() {
		var errs []error
		for _, stop := range slices.Backward(stops) {
			errs = append(errs, stop(ctx))
		}
		closed <- errors.Join(errs...)
	}()
	select {
	case err := <-closed:
		return errors.Join(untold, err)
	case <-ctx.Done():
		return errors.Join(untold, fmt.Errorf("not all was closed: %w", ctx.Err()))
	}
}
