package auth

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// hasherWait is how long a request waits for its turn.
const hasherWait = time.Second

// hasher computes few hashes at a time: each takes 19 MiB, and a burst of
// sign-ins would otherwise take all memory there is.
type hasher struct {
	turns chan struct{}
	wait  time.Duration
}

func newHasher() *hasher {
	return &hasher{turns: make(chan struct{}, 2*runtime.GOMAXPROCS(0)), wait: hasherWait}
}

func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.take(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return newHash(password), nil
}

func (h *hasher) check(ctx context.Context, password, stored string) (bool, error) {
	if err := h.take(ctx); err != nil {
		return false, err
	}
	defer h.release()
	return checkHash(password, stored)
}

func (h *hasher) take(ctx context.Context) error {
	timed, cancel := context.WithTimeoutCause(ctx, h.wait, errBusy)
	defer cancel()
	select {
	case h.turns <- struct{}{}:
		return nil
	case <-timed.Done():
	}
	if errors.Is(context.Cause(timed), errBusy) {
		return errBusy
	}
	return context.Cause(timed)
}

func (h *hasher) release() { <-h.turns }

var errBusy = &fault.Error{
	Kind: fault.Unavailable, Code: "busy", RetryAfter: time.Second,
	Detail: "Too many people are signing in at this moment. Try again shortly.",
}
