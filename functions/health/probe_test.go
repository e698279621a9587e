package health

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestProbeReturnsThoughTheQuestionDoesNot is a driver that ignores its context.
func TestProbeReturnsThoughTheQuestionDoesNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		release := make(chan struct{})
		p := &probe{name: "postgres", ask: func(context.Context) error { asked.Add(1); <-release; return nil }}
		for range 3 {
			began := time.Now()
			o := p.run(t.Context(), time.Now)
			if !errors.Is(o.err, context.DeadlineExceeded) || o.took != patience || !o.asked.Equal(began) || o.name != "postgres" {
				t.Errorf("outcome %+v", o)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times while the first question hung, want 1", asked.Load())
		}
		close(release)
		synctest.Wait()
		if o := p.run(t.Context(), time.Now); o.err != nil || asked.Load() != 2 {
			t.Errorf("after the question came back: %+v, asked %d times", o, asked.Load())
		}
	})
}

func TestProbeAnswersAllWhoAskMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		p := &probe{name: "redis", ask: func(ctx context.Context) error {
			asked.Add(1)
			select {
			case <-time.After(300 * time.Millisecond):
				return errors.New("refused")
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if o := p.run(first, time.Now); !errors.Is(o.err, context.Canceled) {
				t.Errorf("the one who left: %+v", o)
			}
		})
		synctest.Wait()
		for range 100 {
			all.Go(func() {
				if o := p.run(t.Context(), time.Now); o.err == nil || o.err.Error() != "refused" {
					t.Errorf("one who stayed: %+v", o)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times, want 1", asked.Load())
		}
	})
}

func TestQuestionIsGivenItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &probe{ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		if o := p.run(t.Context(), time.Now); !errors.Is(o.err, context.DeadlineExceeded) || o.took != patience {
			t.Errorf("outcome %+v", o)
		}
	})
}
