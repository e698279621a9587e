// Package ratelimit decides whether a request may go on, so that several
// instances hold one limit between them: generic cell rates (GCRA) in Redis,
// several in one round trip, all charged or none. Where Redis does not answer, the
// instance goes on by itself. Which route has which limits is declared with the
// route, and what a refusal looks like is left to httpapi.
package ratelimit

import (
	"encoding/base64"
	"time"
)

// Policy is one limit.
type Policy struct {
	Name   string        // lower case and hyphens: in Redis, in answers, in the manifest
	By     Subject       // whose requests it counts
	Burst  int           // requests that may come at once, from 1
	Window time.Duration // in which that many are restored, evenly
	// Secret limits guard what can be guessed. Without Redis, where instances know
	// nothing of each other, each allows half as much.
	Secret bool
	// Backoff has attempts that fail make the account, or the device, wait.
	Backoff bool
}

// Subject is what a policy counts by.
type Subject string

// The subjects.
const (
	Address Subject = "address" // of the client; IPv6 by its /64
	Network Subject = "network" // of the client: IPv4 /24, IPv6 /48
	Account Subject = "account" // that is named in the request
	Device  Subject = "device"  // that an account has signed in from
	Session Subject = "session" // of a refresh token
	User    Subject = "user"    // who is signed in
)

// scale multiplies all limits of an installation.
type scale float64

// rate is what a policy comes to: the time between two requests at the steady
// rate, and how many may come at once.
func (s scale) rate(p *Policy) (emission time.Duration, burst int) {
	burst = max(1, int(float64(p.Burst)*float64(s)))
	// In whole microseconds, as Redis counts; 0 would be no limit.
	return max(time.Microsecond, (p.Window / time.Duration(burst)).Truncate(time.Microsecond)), burst
}

// alone is the rate that an instance holds by itself.
func (s scale) alone(p *Policy) (emission time.Duration, burst int) {
	emission, burst = s.rate(p)
	if p.Secret && burst > 1 {
		return 2 * emission, burst / 2
	}
	return emission, burst
}

// Key is one subject under one policy. The same value means the same limit.
type Key struct {
	Policy *Policy
	ID     [16]byte // an address, a UUID or a part of a keyed hash
}

// redis is the key's name in Redis.
func (k Key) redis() string {
	return "limit:" + k.Policy.Name + ":" + base64.RawURLEncoding.EncodeToString(k.ID[:])
}

// Decision is what came of a request.
type Decision struct {
	Allowed    bool
	Refused    *Policy       // the one that asks for the longest wait; nil when allowed
	RetryAfter time.Duration // after which it would be allowed, if nobody else came
	Remaining  int           // of the first key: requests that may still come at once
	Reset      time.Duration // of the first key: until its burst is whole again
	Failed     bool          // whether the account has failures
}

// Backoff makes attempts on an account wait after failures, each time twice as
// long.
var Backoff = struct {
	Policy         Policy
	Free           int           // failures before any wait
	First, Longest time.Duration // waits
	Attempt        time.Duration // that an attempt takes at most: another waits so long for its outcome
	Forget         time.Duration // without a failure, all are forgotten
}{
	Policy: Policy{Name: "login-backoff", By: Account, Burst: 1, Window: 15 * time.Minute, Secret: true},
	Free:   5, First: time.Second, Longest: 15 * time.Minute, Attempt: 10 * time.Second, Forget: time.Hour,
}
