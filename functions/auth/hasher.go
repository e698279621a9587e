package auth

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// hasherWait is how long a request waits for its turn.
const hasherWait = time.Second

// hasher computes few hashes at a time, one for each processor: each takes 19 MiB
// and 25 ms, and a burst of sign-ins would otherwise take all memory and all
// processors there are.
type hasher struct {
	turns chan struct{}
	wait  time.Duration
}

// processors is how many there are to compute on.
var processors = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })

// makeRoom has Go's scheduler run as many goroutines more as there are hashes at
// a time.
var makeRoom = sync.OnceFunc(func() { runtime.GOMAXPROCS(2 * processors()) })

func newHasher() *hasher {
	return &hasher{turns: make(chan struct{}, processors()), wait: hasherWait}
}

func (h *hasher) hash(ctx context.Context, password string) (hash string, err error) {
	err = h.compute(ctx, func() { hash = newHash(password) })
	return hash, err
}

func (h *hasher) check(ctx context.Context, password, stored string) (fits bool, err error) {
	var broken error
	err = h.compute(ctx, func() { fits, broken = checkHash(password, stored) })
	return fits, errors.Join(err, broken)
}

// compute has do done when it is its turn, on a thread that gives way to all
// others. Go's scheduler knows no priorities, and lets a goroutine compute for
// 10 ms before another has the processor: under a flood of sign-ins each step of
// every other request would wait that long. So there is room in the scheduler for
// the hashes beside everything else, and it is the system's scheduler that gives
// them what the rest leaves.
func (h *hasher) compute(ctx context.Context, do func()) error {
	if err := h.take(ctx); err != nil {
		return err
	}
	defer h.release()
	makeRoom()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: a thread cannot take its priority back, and ends with
		// its goroutine.
		runtime.LockOSThread()
		giveWay()
		do()
	}()
	<-done
	return nil
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
