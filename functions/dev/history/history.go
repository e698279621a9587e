// Package history turns a history of commits and tags into facts: authors,
// commits, deployments and the changes that each deployment brought. It reads
// local git repositories; what the facts mean in figures is left to rollup, and
// what is said about an import to its caller.
//
// The rules of deployments and changes stand in deployment.go and graph.go, and
// are the same for a first import and for a later one: a later import computes
// what a first one would store, and writes the difference.
package history

import (
	"context"
	"iter"
	"time"
)

// Source is where a history comes from.
type Source interface {
	// Origin says whose history this is. It does no I/O.
	Origin() Origin
	// Refs reads where the history ends and what was released. What it returns is
	// a snapshot: later calls may differ.
	Refs(ctx context.Context) (Refs, error)
	// Log yields each commit reachable from tips once, in any order. A commit is
	// valid until the next one.
	Log(ctx context.Context, tips [][]byte) iter.Seq2[*Commit, error]
	// Count returns how many commits Log yields. It may take as long as Log.
	Count(ctx context.Context, tips [][]byte) (int, error)
}

// Origin is the identity of a history within a team.
type Origin struct {
	Source     string // kind of source: "git", "demo"
	ExternalID string // what the source calls it; stays when the name changes
	Name       string // what people call it
}

// Commit is one commit as its source tells it. Shas are raw, 20 or 32 bytes.
type Commit struct {
	SHA       []byte
	Parents   [][]byte
	Author    Author
	Authored  time.Time
	Committed time.Time
	Subject   string // valid UTF-8 without NUL, a kilobyte at most
}

// Author is who a commit says wrote it: both are valid UTF-8 without NUL.
type Author struct{ Name, Email string }

// Tag is a name for a commit.
type Tag struct {
	Name string
	SHA  []byte    // of the commit, also for annotated tags
	At   time.Time // when it was made; the zero time when that is not known
}

// Refs is where a history ends.
type Refs struct {
	Tips     [][]byte // everything reachable from these is the history
	Main     []byte   // tip of the main line; nil when there is no commit
	Versions []Tag    // tags that are deployments, on commits alone
	Skipped  Skipped
}

// Skipped counts the tags that are no deployments, and why.
type Skipped struct {
	OtherTags  int // the name does not look like a version
	NotCommits int // looks like a version and names a tree or a file
}
