package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// console writes log records for a person at a terminal: one short line each,
// with the cause where there is one. Until the product serves, it keeps to
// errors: the requests of the start are its own.
type console struct {
	mu      *sync.Mutex
	out     io.Writer
	serving *atomic.Bool
}

func newConsole(out io.Writer) console { return console{&sync.Mutex{}, out, &atomic.Bool{}} }

// Enabled leaves out what is not for people.
func (c console) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError || level >= slog.LevelInfo && c.serving.Load()
}

// Handle writes the record.
func (c console) Handle(_ context.Context, r slog.Record) error {
	if passedOn(r) {
		return nil
	}
	text := r.Time.Format("15:04:05") + " " + printable(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "httpRequest":
			for _, field := range a.Value.Group() {
				if field.Key == "status" || field.Key == "latency" {
					text += fmt.Sprintf(" %v", field.Value)
				}
			}
		case "request_id": // of use where there are many
		case "panic":
			text += " panic=" + a.Value.String()
		default:
			text += " " + a.Key + "=" + printable(a.Value.String())
		}
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := fmt.Fprintln(c.out, text)
	return err
}

// passedOn tells whether a line is the door's about an answer of another function.
// That function's own line says more of the same request.
func passedOn(r slog.Record) (is bool) {
	r.Attrs(func(a slog.Attr) bool {
		is = a.Key == httpapi.PassedTo
		return !is
	})
	return is
}

// printable keeps what a stranger sent from moving the cursor, or passing for
// lines of ours.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return '\uFFFD'
	}, text)
}

// WithAttrs and WithGroup leave the line short.
func (c console) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup leaves the line short.
func (c console) WithGroup(string) slog.Handler { return c }
