package ratelimit

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// metadata is where an operation keeps its limits.
const metadata = "limits"

// On returns the operation with limits, which also stand in the API document and
// the manifest. The first is the one that answers speak of: it must be by
// something that the caller knows of themselves.
func On(op huma.Operation, policies ...*Policy) huma.Operation {
	if len(policies) == 0 || policies[0].By == Account || policies[0].By == Device {
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
	for _, p := range policies {
		documented = append(documented, httpapi.Limit{Name: p.Name, By: string(p.By), Requests: p.Burst, Seconds: int(p.Window / time.Second)})
	}
	op.Extensions[httpapi.LimitsExtension] = documented
	op.Errors = append(op.Errors, http.StatusTooManyRequests)
	return op
}

// Enforce has the operations of api keep the limits that they declare. What counts
// by an account or a session, which only the handler can name, is decided when it
// calls Named; until then nothing is charged.
func Enforce(api *httpapi.API, l *Limiter) {
	api.Limit = func(ctx huma.Context) (context.Context, error) {
		policies, _ := ctx.Operation().Metadata[metadata].([]*Policy)
		if len(policies) == 0 {
			return ctx.Context(), nil
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
				call.keys = append(call.keys, Key{p, identity.CallerOf(ctx.Context()).User})
			default:
				named = true
			}
		}
		if named {
			return context.WithValue(ctx.Context(), callKey{}, call), nil
		}
		_, err := call.decide(ctx.Context(), nil)
		return ctx.Context(), err
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
	keys     []Key
	set      func(name, value string)
}

type callKey struct{}

// Subjects are what a handler knows to count by. Of an account and the device that
// it was signed in from before, the device counts alone: nobody else can use up
// its attempts.
type Subjects struct {
	Account [16]byte
	Device  uuid.UUID
	Session uuid.UUID
}

// Attempt is an admitted attempt on an account.
type Attempt struct {
	limiter *Limiter
	key     Key
	failed  bool // one before it has
}

// Failed has the next attempts wait, the longer the more have failed.
func (a Attempt) Failed(ctx context.Context) { a.limiter.fail(ctx, a.key) }

// Succeeded forgets the failures before it.
func (a Attempt) Succeeded(ctx context.Context) {
	if a.failed {
		a.limiter.succeed(ctx, a.key)
	}
}

// Named decides about a request by all its limits, those that the handler has
// named among them. Call it before any work. The error is a Limited fault.
func Named(ctx context.Context, s Subjects) (Attempt, error) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		panic("a handler names subjects for limits that its operation does not declare")
	}
	attempts := Key{&Backoff.Policy, s.Account}
	if s.Device != uuid.Nil {
		attempts.ID = s.Device
	}
	var account *Key
	for _, p := range c.policies {
		switch p.By {
		case Account:
			account = &attempts
			if s.Device == uuid.Nil {
				c.keys = append(c.keys, Key{p, s.Account})
			}
		case Device:
			if s.Device != uuid.Nil {
				c.keys = append(c.keys, Key{p, s.Device})
			}
		case Session:
			c.keys = append(c.keys, Key{p, s.Session})
		}
	}
	d, err := c.decide(ctx, account)
	return Attempt{c.limiter, attempts, d.Failed}, err
}

// decide asks the limiter and tells the caller what it may know: nothing of an
// account's limits, by which others would learn who is signing in.
func (c *call) decide(ctx context.Context, account *Key) (Decision, error) {
	d := c.limiter.Take(ctx, account, c.keys...)
	shown := c.policies[0]
	if d.Refused != nil && d.Refused.By != Account && d.Refused.By != Device {
		shown = d.Refused
	}
	remaining, reset := d.Remaining, d.Reset
	if !d.Allowed {
		remaining, reset = 0, d.RetryAfter
	}
	_, burst := c.limiter.scale.rate(shown)
	c.set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", shown.Name, burst, int(shown.Window/time.Second)))
	c.set("RateLimit", fmt.Sprintf("%q;r=%d;t=%s", shown.Name, remaining, seconds(reset)))
	if d.Allowed {
		return d, nil
	}
	return d, &fault.Error{
		Kind: fault.Limited, Code: "too_many_requests", Exceeded: []string{shown.Name},
		Detail:     "Too many requests. Try again in " + wait(d.RetryAfter) + ".",
		RetryAfter: d.RetryAfter,
	}
}

// seconds rounds up: who comes back then is let in.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

func wait(d time.Duration) string {
	if n := seconds(d); n != "1" {
		return n + " seconds"
	}
	return "a second"
}
