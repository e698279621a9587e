package ratelimit

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// metadata is where an operation keeps its limits.
const metadata = "limits"

// On returns the operation with limits, which also stand in the API document and
// the manifest. The first is the one that answers speak of: it must be by
// something that the caller knows of themselves.
func On(op huma.Operation, policies ...*Policy) huma.Operation {
	if len(policies) == 0 || policies[0].By != Address && policies[0].By != Network && policies[0].By != User {
		panic(op.OperationID + ": the first limit must be by what callers know of themselves")
	}
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Metadata[metadata] = policies
	var documented []httpapi.Limit
	document := func(p *Policy, requests int) {
		documented = append(documented, httpapi.Limit{Name: p.Name, By: string(p.By), Requests: requests, Seconds: int(p.Window / time.Second)})
	}
	for _, p := range policies {
		document(p, p.Burst)
	}
	if slices.ContainsFunc(policies, func(p *Policy) bool { return p.Backoff }) {
		document(&Backoff.Policy, Backoff.Free)
	}
	op.Extensions[httpapi.LimitsExtension] = documented
	op.Errors = append(op.Errors, http.StatusTooManyRequests)
	return op
}

// Enforce has the operations of api keep the limits that they declare. What counts
// by an account or a session, which only the handler can name, is decided when it
// calls Named. A request that never comes so far, since it is no good, is charged
// when that is found out.
func Enforce(api *httpapi.API, l *Limiter) {
	api.Limit = func(ctx huma.Context, next func(huma.Context)) error {
		policies, _ := ctx.Operation().Metadata[metadata].([]*Policy)
		if len(policies) == 0 {
			next(ctx)
			return nil
		}
		call := &call{limiter: l, policies: policies, set: ctx.SetHeader}
		named := false
		for _, p := range policies {
			switch p.By {
			case Address:
				call.keys = append(call.keys, Key{p, addressID(httpapi.ClientOf(ctx.Context()), 32, 64)})
			case Network:
				call.keys = append(call.keys, Key{p, addressID(httpapi.ClientOf(ctx.Context()), 24, 48)})
			case User:
				call.keys = append(call.keys, Key{p, access.CallerOf(ctx.Context()).Subject()})
			default:
				named = true
			}
		}
		if !named {
			_, _, err := call.decide(ctx.Context(), nil, call.keys)
			if err == nil {
				next(ctx)
			}
			return err
		}
		if d, refused := l.known(call.whoever()); refused {
			return call.answer(d)
		}
		next(huma.WithContext(ctx, context.WithValue(ctx.Context(), callKey{}, call)))
		if call.decided {
			return nil
		}
		// All or none: a network that is used up must not leave its addresses free.
		if d := l.Take(ctx.Context(), nil, call.keys...); !d.Allowed && d.Refused.By == Network {
			l.Take(ctx.Context(), nil, call.whoever()...)
		}
		return nil
	}
}

// addressID is the address with its host part cut off: of IPv4, and of IPv6. All
// who have no address share one.
func addressID(a netip.Addr, bits4, bits6 int) [16]byte {
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		return [16]byte{}
	}
	return prefix.Addr().As16()
}

// call is a request whose limits are still to be decided.
type call struct {
	limiter  *Limiter
	policies []*Policy
	keys     []Key // that are known without the handler
	decided  bool
	set      func(name, value string)
}

// whoever returns the keys that count whatever the handler names: not the network,
// where a known device does not count by it.
func (c *call) whoever() []Key {
	if !c.knowsDevices() {
		return c.keys
	}
	return slices.DeleteFunc(slices.Clone(c.keys), func(k Key) bool { return k.Policy.By == Network })
}

func (c *call) knowsDevices() bool {
	return slices.ContainsFunc(c.policies, func(p *Policy) bool { return p.By == Device })
}

type callKey struct{}

// Subjects are what a handler knows to count by. Of an account and the device that
// it was signed in from before, the device counts alone, and its network does not:
// nobody else can use up its attempts.
type Subjects struct {
	Account [16]byte
	Device  uuid.UUID
	Session uuid.UUID
}

// Attempt is an admitted attempt on an account.
type Attempt struct {
	limiter *Limiter
	key     Key
	backoff bool // failures count
	failed  bool // one before it has
	alone   bool // Redis was of no use for it
}

// Failed has the next attempts wait, the longer the more have failed.
func (a Attempt) Failed(ctx context.Context) {
	if a.backoff {
		a.limiter.fail(ctx, a.key, a.alone)
	}
}

// Succeeded forgets the failures before it.
func (a Attempt) Succeeded(ctx context.Context) {
	if a.failed {
		a.limiter.succeed(ctx, a.key, a.alone)
	}
}

// Named decides about a request by all its limits, those that the handler has
// named among them. Call it before any work. A second call, without a device that
// turned out to be none, decides by what the first left out. The error is a Limited
// fault.
func Named(ctx context.Context, s Subjects) (Attempt, error) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		panic("a handler names subjects for limits that its operation does not declare")
	}
	if !c.knowsDevices() {
		s.Device = uuid.Nil
	}
	var keys, left []Key
	for _, k := range c.keys {
		if s.Device != uuid.Nil && k.Policy.By == Network {
			left = append(left, k)
		} else {
			keys = append(keys, k)
		}
	}
	c.keys = left
	a := Attempt{limiter: c.limiter, key: Key{&Backoff.Policy, s.Account}}
	if s.Device != uuid.Nil {
		a.key.ID = s.Device
	}
	for _, p := range c.policies {
		k := Key{Policy: p}
		switch {
		case p.By == Account && s.Device == uuid.Nil:
			k.ID = s.Account
		case p.By == Device && s.Device != uuid.Nil:
			k.ID = s.Device
		case p.By == Session:
			k.ID = s.Session
		default:
			continue
		}
		keys = append(keys, k)
		a.backoff = a.backoff || p.Backoff
	}
	var account *Key
	if a.backoff {
		account = &a.key
	}
	d, alone, err := c.decide(ctx, account, keys)
	a.failed, a.alone = d.Failed, alone
	return a, err
}

// decide asks the limiter and tells the caller what came of it.
func (c *call) decide(ctx context.Context, account *Key, keys []Key) (Decision, bool, error) {
	d, alone := c.limiter.take(ctx, account, keys...)
	again := c.decided
	c.decided = true
	if d.Allowed && again {
		return d, alone, nil // the first of all limits was told of
	}
	return d, alone, c.answer(d)
}

// answer tells the caller what they may know: nothing of an account's limits, by
// which others would learn who is signing in, and how often they failed.
func (c *call) answer(d Decision) error {
	shown := c.policies[0]
	wait := d.RetryAfter
	if d.Refused != nil {
		if d.Refused.By != Account && d.Refused.By != Device {
			shown = d.Refused
		} else {
			wait = (wait + time.Minute - 1).Truncate(time.Minute)
		}
	}
	remaining, reset := d.Remaining, d.Reset
	if !d.Allowed {
		remaining, reset = 0, wait
	}
	_, burst := c.limiter.scale.rate(shown)
	c.set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", shown.Name, burst, int(shown.Window/time.Second)))
	c.set("RateLimit", fmt.Sprintf("%q;r=%d;t=%s", shown.Name, remaining, seconds(reset)))
	if d.Allowed {
		return nil
	}
	return &fault.Error{
		Kind: fault.Limited, Code: "too_many_requests", Exceeded: []string{shown.Name},
		Detail:     "Too many requests. Try again in " + spelled(wait) + ".",
		RetryAfter: wait,
	}
}

// seconds rounds up: who comes back then is let in.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

func spelled(d time.Duration) string {
	if n := seconds(d); n != "1" {
		return n + " seconds"
	}
	return "a second"
}
