package postgres

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	firstPause   = 250 * time.Millisecond
	longestPause = 4 * time.Second
)

// redial dials a Cloud SQL instance, and for a while after each failure does not.
// Its connector asks the Admin API twice for every dial that follows one which failed;
// of that, a project may ask 180 times a minute, and an outage would last until it may
// again.
type redial struct {
	dial func(context.Context) (net.Conn, error)
	now  func() time.Time

	mu    sync.Mutex
	pause time.Duration // the last one; 0 after a success
	until time.Time
	err   error // why
}

func (r *redial) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := r.paused(); err != nil {
		return nil, err
	}
	conn, err := r.dial(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.pause, r.until = 0, time.Time{}
	case !r.now().Before(r.until): // of several that fail at once, one counts
		r.pause = min(max(firstPause, 2*r.pause), longestPause)
		r.until, r.err = r.now().Add(r.pause), err
	}
	return conn, err
}

// paused returns an error while nothing is dialled.
func (r *redial) paused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := r.until.Sub(r.now()); left > 0 {
		return fmt.Errorf("not dialled for another %s, after: %w", left.Round(time.Millisecond), r.err)
	}
	return nil
}
