// Package secrets reads settings that may be references to Secret Manager:
// "sm://projects/P/secrets/S/versions/V". A plain value is returned as it is.
// Nothing is read before the first use. A value that is known serves on while it
// is read again, and for as long as that fails.
package secrets

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// freshFor is how long a value read from Secret Manager is used before it is
// read again, so that a rotated secret arrives without a restart.
const freshFor = time.Minute

// soonest is the least time between two reads of a value, for callers to whom it
// seems old. What makes it seem so may come from anybody, in any number.
const soonest = 10 * time.Second

// The first read has a caller wait who cannot go on without it; a later one has
// a caller wait who could.
const (
	firstTime = 5 * time.Second
	againTime = time.Second
)

// Value is a setting that may be a reference.
type Value struct {
	name      string
	raw       string
	reference string // "" for a plain value
	now       func() time.Time
	log       *slog.Logger
	again     time.Duration
	manager   *manager

	turn chan struct{} // holds something while a caller reads
	last atomic.Pointer[reading]
}

// reading is what was read, and when somebody last tried to.
type reading struct {
	value string
	tried time.Time
}

const scheme = "sm://"

// Plain tells whether a setting's text is its value, and not a reference.
func Plain(text string) bool { return !strings.HasPrefix(text, scheme) }

// For returns the declared setting as a value to be read when it is needed.
func For(env *function.Env, name string) *Value {
	raw, declared := env.Declared(name)
	if !declared.Secret {
		panic("setting " + name + " is read as a secret without being declared one")
	}
	v := &Value{name: name, raw: raw, now: env.Now, log: env.Log, again: againTime, turn: make(chan struct{}, 1)}
	if !Plain(raw) {
		v.reference = strings.TrimPrefix(raw, scheme)
		v.manager = managerOf(env)
	}
	return v
}

// Get returns the value, at most a minute old unless Secret Manager fails. While
// one caller reads it again, for a second at most, the others are given the value
// known before, and so is that one if the reading fails. With no value known, the
// error is an Unavailable fault.
func (v *Value) Get(ctx context.Context) (string, error) { return v.get(ctx, freshFor) }

// Recent is Get for a caller to whom the value seems old: it is read again when
// that was last tried ten seconds ago.
func (v *Value) Recent(ctx context.Context) (string, error) { return v.get(ctx, soonest) }

func (v *Value) get(ctx context.Context, age time.Duration) (string, error) {
	if v.manager == nil {
		return v.raw, nil
	}
	last := v.last.Load()
	if v.fresh(last, age) {
		return last.value, nil
	}
	if last != nil {
		select {
		case v.turn <- struct{}{}:
		default:
			return last.value, nil
		}
	} else {
		select {
		case v.turn <- struct{}{}:
		case <-ctx.Done():
			return "", v.away(ctx.Err())
		}
	}
	defer func() { <-v.turn }()
	if last = v.last.Load(); v.fresh(last, age) { // read while this caller took its turn
		return last.value, nil
	}
	if last == nil {
		return v.first(ctx)
	}
	return v.renewed(ctx, last.value), nil
}

func (v *Value) fresh(r *reading, age time.Duration) bool {
	return r != nil && v.now().Sub(r.tried) < age
}

func (v *Value) first(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	value, err := v.manager.read(ctx, v.reference)
	if err != nil {
		return "", v.away(err) // and the next caller tries again
	}
	v.last.Store(&reading{value, v.now()})
	return value, nil
}

// renewed reads the value again. It reads on for a caller who goes away: if that
// counted as a failure, such callers would keep the value old, and if it did not,
// they would read without a bound.
func (v *Value) renewed(ctx context.Context, known string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.again)
	defer cancel()
	value, err := v.manager.read(ctx, v.reference)
	if err != nil {
		v.log.WarnContext(ctx, "a secret could not be read again; the value known before serves on", "setting", v.name, "error", err.Error())
		value = known
	}
	v.last.Store(&reading{value, v.now()})
	return value
}

func (v *Value) away(err error) error {
	return fault.Away("Secret Manager", fmt.Errorf("setting %s: %w", v.name, err))
}
