package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// Commands are what a client is asked here. They are functions, and none of them has
// the client's type in its own: go-redis gives each of its kinds of client a method for
// every command of Redis, and the linker keeps all methods of a type that reflection
// might come across, which it might with any field of it. That is three megabytes of
// each function that limits its callers.
type Commands struct {
	// Run runs a script and returns the number or numbers that it answers.
	Run func(ctx context.Context, s *Script, keys []string, args ...any) ([]int64, error)
	// Send sends commands at once and fails as the first of them does.
	Send func(ctx context.Context, commands ...[]any) error

	close func() error
}

// Script is a Lua script, which Redis keeps under the hash of its text.
type Script struct{ text, hash string }

// NewScript returns the script with a text.
func NewScript(text string) *Script { return &Script{text, goredis.NewScript(text).Hash()} }

// Over returns the commands of a client.
func Over(client *goredis.Client) *Commands {
	return &Commands{
		Run: func(ctx context.Context, s *Script, keys []string, args ...any) ([]int64, error) {
			answer := client.EvalSha(ctx, s.hash, keys, args...)
			if goredis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
				answer = client.Eval(ctx, s.text, keys, args...)
			}
			if n, one := answer.Val().(int64); one {
				return []int64{n}, nil
			}
			return answer.Int64Slice()
		},
		Send: func(ctx context.Context, commands ...[]any) error {
			pipeline := client.Pipeline()
			for _, command := range commands {
				pipeline.Do(ctx, command...)
			}
			_, err := pipeline.Exec(ctx)
			return err
		},
		close: client.Close,
	}
}
