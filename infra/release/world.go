package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// world is all that a release touches outside of itself.
type world struct {
	gcloud    func(ctx context.Context, args ...string) (string, error) // what it prints
	transport http.RoundTripper
	now       func() time.Time
	wait      func(ctx context.Context, d time.Duration) error
}

// gcloud runs the program in dir. Of an error it tells what was said last.
func gcloud(program, dir string) func(ctx context.Context, args ...string) (string, error) {
	return func(ctx context.Context, args ...string) (string, error) {
		command := exec.CommandContext(ctx, program, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
		command.WaitDelay = 5 * time.Second // for what it started and leaves behind
		var out, said bytes.Buffer
		command.Stdout, command.Stderr = &out, &said
		if err := command.Run(); err != nil {
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			text := strings.Join(lines[max(0, len(lines)-20):], "\n")
			return "", fmt.Errorf("gcloud %s: %s", strings.Join(args[:min(3, len(args))], " "), cmp.Or(text, err.Error()))
		}
		return strings.TrimSpace(out.String()), nil
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// tries is how often what changes nothing is asked before its error counts.
const tries = 4

// again asks until there is no error, but no more than tries times, with longer and
// longer pauses.
func (w world) again(ctx context.Context, ask func() error) error {
	for n := 1; ; n++ {
		err := ask()
		if err == nil || n == tries {
			return err
		}
		if w.wait(ctx, time.Duration(n)*3*time.Second) != nil {
			return err // the one that says more
		}
	}
}
