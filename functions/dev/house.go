package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// house is the product as it is deployed: web is what browsers reach, and its door
// leads to the other functions over HTTP.
type house struct {
	front  http.Handler
	inside client // calls the functions behind the door without it, as Cloud Scheduler does
	log    *slog.Logger

	server *http.Server
	envs   []*function.Env
}

// openHouse serves the functions behind the door on a port of its own, which
// nobody is told.
func openHouse(kept *keep, s *stores, log *slog.Logger) (*house, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var behind []function.Function
	var urls []string
	for _, fn := range functions.All {
		if fn.Name != web.Function.Name {
			behind = append(behind, fn)
			urls = append(urls, fn.Name+"=http://"+listener.Addr().String())
		}
	}
	door := function.NewEnv(log, time.Now, with(kept.lookup(s, web.Function.Name), "FUNCTION_URLS", strings.Join(urls, ",")))
	rooms := function.NewEnv(log, time.Now, with(kept.lookup(s, ""), "CLIENT_ADDRESS_HEADER", httpapi.ClientHeader)).
		Apart(func(fn string) function.Lookup { return kept.lookup(s, fn) })
	// In this order: the last one decides how much memory the process may use, and
	// web alone would have little.
	front, doorErr := function.Handler(door, web.Function)
	handler, roomsErr := function.Handler(rooms, behind...)
	if err := errors.Join(doorErr, roomsErr); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	// Whoever asks under another name was sent by a page whose host has become this
	// machine: nothing of ours calls it so.
	known := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != listener.Addr().String() {
			http.Error(w, "no such host", http.StatusMisdirectedRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
	h := &house{front: front, inside: client{handler}, log: log, server: newServer(known, log), envs: []*function.Env{door, rooms}}
	go func() { _ = h.server.Serve(listener) }() // until close
	return h, nil
}

// close ends what is behind the door. Requests through the door are over by then.
func (h *house) close(ctx context.Context) error {
	errs := []error{h.server.Close()}
	for _, env := range slices.Backward(h.envs) {
		errs = append(errs, env.Stop(ctx))
	}
	return errors.Join(errs...)
}

// with is a lookup that finds one setting otherwise.
func with(lookup function.Lookup, setting, value string) function.Lookup {
	return func(name string) (string, bool) {
		if name == setting {
			return value, true
		}
		return lookup(name)
	}
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo), // handshakes that fail, for one
	}
}
