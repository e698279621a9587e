package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// client calls the functions without a network, also on the routes that the door
// does not lead to.
type client struct{ handler http.Handler }

// call sends in as JSON, decodes a 2xx answer into out, and returns the status.
func (c client) call(ctx context.Context, method, path, token string, in, out any) (int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://dev"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.RequestURI, r.RemoteAddr = path, "in-process"
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := &recorded{header: http.Header{}, status: http.StatusOK}
	c.handler.ServeHTTP(w, r)
	if err := ctx.Err(); err != nil {
		return w.status, err // the answer tells of our own end, not of a failure
	}
	if w.status >= 300 {
		var problem httpapi.Problem
		_ = json.Unmarshal(w.body.Bytes(), &problem)
		return w.status, fmt.Errorf("%s %s answered %d: %s", method, path, w.status, problem.Detail)
	}
	if out == nil {
		return w.status, nil
	}
	return w.status, json.Unmarshal(w.body.Bytes(), out)
}

// callSchedules calls every schedule once. A failure is in the request log, and
// the next call makes up for it.
func (c client) callSchedules(ctx context.Context) {
	for _, fn := range functions.All {
		for _, s := range fn.Schedules {
			_, _ = c.call(ctx, http.MethodPost, s.Path, "", nil, nil)
		}
	}
}

// recorded is an answer kept in memory.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *recorded) Header() http.Header         { return k.header }
func (k *recorded) Write(b []byte) (int, error) { return k.body.Write(b) }
func (k *recorded) WriteHeader(status int)      { k.status = status }
