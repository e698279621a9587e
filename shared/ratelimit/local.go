package ratelimit

import (
	"sync"
	"time"
)

// most is how many keys an instance holds by itself, some 6 MB.
const most = 1 << 16

// local is what one instance holds in its own memory: every limit, in case it has
// to go on without Redis, and which keys have just been refused.
type local struct {
	scale scale

	mu      sync.Mutex
	whole   map[Key]time.Time // when a limit is whole again
	failed  map[Key]failures  // by account
	refused map[Key]time.Time // until when
	swept   time.Time
}

type failures struct {
	count     int
	until     time.Time // before which no attempt is allowed
	forgotten time.Time
}

func newLocal(s scale) *local {
	return &local{scale: s, whole: map[Key]time.Time{}, failed: map[Key]failures{}, refused: map[Key]time.Time{}}
}

// hot returns the key that is known to be refused for longest, without asking
// anybody.
func (l *local) hot(now time.Time, keys []Key, account *Key) (Decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Decision{Allowed: true}
	look := func(k Key) {
		if wait := l.refused[k].Sub(now); wait > d.RetryAfter {
			d = Decision{Refused: k.Policy, RetryAfter: wait}
		}
	}
	for _, k := range keys {
		look(k)
	}
	if account != nil {
		look(*account)
	}
	return d, !d.Allowed
}

// known returns a refusal that follows from what the instance knows of these keys
// themselves, by limits as Redis holds them or as it would decide alone.
func (l *local) known(now time.Time, keys []Key, rate func(*Policy) (time.Duration, int)) (Decision, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Decision{Allowed: true}
	for _, k := range keys {
		if l.place(k) != k {
			continue
		}
		emission, burst := rate(k.Policy)
		if wait := l.next(now, k, emission, burst).Sub(now.Add(emission * time.Duration(burst))); wait > d.RetryAfter {
			d = Decision{Refused: k.Policy, RetryAfter: whole(wait)}
		}
	}
	return d, !d.Allowed
}

// remember keeps a refusal in mind until it is over, and that nothing is left of the
// limit, for the case that Redis goes away.
func (l *local) remember(now time.Time, k Key, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sweep(now); len(l.refused) < most {
		l.refused[k] = now.Add(whole(wait))
	}
	if k.Policy != &Backoff.Policy && l.place(k) == k {
		emission, burst := l.scale.rate(k.Policy)
		l.whole[k] = now.Add(wait + emission*time.Duration(burst-1))
	}
}

// take decides and charges as take.lua does, by the instance's own limits.
func (l *local) take(now time.Time, keys []Key, account *Key) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	d := Decision{Allowed: true}
	longest := time.Duration(0)
	refuse := func(p *Policy, wait time.Duration) {
		if wait > longest {
			longest, d = wait, Decision{Refused: p, RetryAfter: whole(wait)}
		}
	}
	for _, k := range keys {
		emission, burst := l.scale.alone(k.Policy)
		refuse(k.Policy, l.next(now, k, emission, burst).Sub(now.Add(emission*time.Duration(burst))))
	}
	if account != nil {
		if f := l.failed[*account]; now.Before(f.forgotten) {
			refuse(account.Policy, min(f.until.Sub(now), Backoff.Longest))
			d.Failed = d.Allowed
		}
	}
	if !d.Allowed {
		return d
	}
	if d.Failed {
		// Who fails now would have the next wait: the next has to wait meanwhile.
		f := l.failed[*account]
		if wait := min(waitAfter(f.count+1), Backoff.Attempt); wait > 0 {
			f.until = now.Add(wait)
		}
		l.failed[*account] = f
	}
	for i, k := range keys {
		emission, burst := l.scale.alone(k.Policy)
		next := l.next(now, k, emission, burst)
		l.whole[l.place(k)] = next
		if i == 0 {
			d.Reset = whole(next.Sub(now))
			d.Remaining = int((emission*time.Duration(burst) - next.Sub(now)) / emission)
		}
	}
	return d
}

// whole rounds up to milliseconds, in which Redis answers.
func whole(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// charged notes when limits are whole again, in microseconds, as Redis says, so that
// nobody gets a burst anew when Redis goes away.
func (l *local) charged(now time.Time, keys []Key, until []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	for i, k := range keys {
		at := now.Add(microseconds(until[i]))
		held := l.place(k)
		if held != k { // one place of many keys
			emission, burst := l.scale.rate(k.Policy)
			at = l.next(now, k, emission, burst)
		}
		l.whole[held] = at
	}
}

// next is when the limit would be whole again after one more request.
func (l *local) next(now time.Time, k Key, emission time.Duration, burst int) time.Time {
	at := l.whole[l.place(k)]
	if latest := now.Add(emission * time.Duration(burst)); at.After(latest) {
		at = latest
	}
	if at.Before(now) {
		at = now
	}
	return at.Add(emission)
}

// place is where a key is held: where there is no room for another, all new ones
// of a policy share one.
func (l *local) place(k Key) Key {
	if _, held := l.whole[k]; !held && len(l.whole) >= most {
		return Key{Policy: k.Policy}
	}
	return k
}

func (l *local) fail(now time.Time, account Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	f := l.failed[account]
	if !now.Before(f.forgotten) {
		f = failures{}
	}
	f.count++
	f.forgotten = now.Add(Backoff.Forget)
	f.until = time.Time{} // not now, by a clock that is put back
	if wait := waitAfter(f.count); wait > 0 {
		f.until = now.Add(wait)
	}
	if _, held := l.failed[account]; held || len(l.failed) < most {
		l.failed[account] = f
	}
}

// waitAfter is how long an account waits after so many failures.
func waitAfter(failures int) time.Duration {
	if over := failures - Backoff.Free; over >= 0 {
		return min(Backoff.Longest, Backoff.First<<min(over, 30))
	}
	return 0
}

func (l *local) succeed(account Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failed, account)
	delete(l.refused, account)
}

// sweep drops what is over, when there is much of it, and not at every request.
func (l *local) sweep(now time.Time) {
	if max(len(l.whole), len(l.refused), len(l.failed)) < most/2 || now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for k, at := range l.whole {
		if !at.After(now) {
			delete(l.whole, k)
		}
	}
	for k, until := range l.refused {
		if !until.After(now) {
			delete(l.refused, k)
		}
	}
	for k, f := range l.failed {
		if !f.forgotten.After(now) {
			delete(l.failed, k)
		}
	}
}
