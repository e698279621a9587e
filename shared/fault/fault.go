// Package fault names the kinds of failure and holds what may be said about
// them to a caller. It knows neither HTTP nor SQL: httpapi turns a kind into a
// status, and the packages that talk to a dependency decide which kind its
// errors are.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what a caller can do about a failure.
type Kind int

const (
	// Internal is a defect of ours; nothing about it is said outside.
	Internal Kind = iota
	// Malformed means the request could not be read at all.
	Malformed
	// Invalid means the request was read and asks for something that cannot be.
	Invalid
	// Unauthenticated means the caller has not proved who they are.
	Unauthenticated
	// Forbidden means the caller is known and may not do this.
	Forbidden
	// NotFound means there is no such thing for this caller; it is also the
	// answer for things of another team, which must look the same.
	NotFound
	// Gone means there was such a thing, and it has had its time.
	Gone
	// Conflict means the request contradicts what is stored.
	Conflict
	// Limited means the caller asked too often.
	Limited
	// Unavailable means a dependency is away and the same request may succeed
	// after RetryAfter.
	Unavailable
	// Broken means a dependency answered what is of no use; whether it did what
	// was asked is not known.
	Broken
	// Late means a dependency did not answer in the time it has.
	Late
)

// Field is one part of the request that has to change.
type Field struct {
	Location string // where it stands: "query.from", "body.email"
	Message  string // what to change
}

// Error is a failure that may be told to the caller.
type Error struct {
	Kind       Kind
	Code       string        // stable, for programs: "session_revoked"
	Detail     string        // for people: what is wrong and what to change
	Fields     []Field       // the parts of the request at fault, if any
	Exceeded   []string      // of a Limited one: the limits, by name
	RetryAfter time.Duration // when to try again; 0 when trying again cannot help
	Cause      error         // for the log only
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Cause)
	}
	return e.Code + ": " + e.Detail
}

// Unwrap returns the cause, so that errors.Is sees through a fault.
func (e *Error) Unwrap() error { return e.Cause }

// New returns a fault without a cause.
func New(kind Kind, code, detail string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail}
}

// InvalidField returns an Invalid fault about one part of the request.
func InvalidField(location, message string) *Error {
	return &Error{Kind: Invalid, Code: "invalid_request", Detail: message, Fields: []Field{{location, message}}}
}

// Away returns an Unavailable fault for a dependency, by name ("the database").
func Away(dependency string, cause error) *Error {
	return &Error{
		Kind: Unavailable, Code: "unavailable",
		// Whether anything was changed is not known: an answer may have been lost.
		Detail:     "The service cannot reach " + dependency + " at the moment. Try again shortly.",
		RetryAfter: 2 * time.Second,
		Cause:      cause,
	}
}

// From returns the fault in err's chain, or an Internal one that wraps err.
func From(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side. The request id helps us find it.", Cause: err}
}
