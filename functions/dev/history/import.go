package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Result is what an import did.
type Result struct {
	Repository  uuid.UUID
	Service     uuid.UUID
	Environment uuid.UUID
	Name        string // of repository and service
	DeployedBy  string // ByTag, or ByCommit when no tag looks like a version
	Unchanged   bool   // nothing was new, and nothing below was counted
	Commits     int    // written by this import, merges included
	Deployments int    // likewise; one that moved counts
	Changes     int    // likewise
	Skipped     Skipped
}

// Progress is how far the writing of commits, the long part, has come.
type Progress struct {
	Done  int // commits seen
	Total int // all commits; 0 while it is not known, which for a short import is always
}

// Import brings the tables of facts to what source says, in one transaction: it
// writes what is new, and removes what source no longer has (deleted tags,
// rewritten branches). The days that it touches are marked for rollup. When
// nothing has happened since the last import, one query tells.
//
// progress, which may be nil, is called now and then, one call at a time.
//
// Two imports of one repository run one after the other. An error leaves the
// tables as they were.
func Import(ctx context.Context, db *postgres.Database, team uuid.UUID, source Source, progress func(Progress)) (Result, error) {
	origin := source.Origin()
	refs, err := source.Refs(ctx)
	if err != nil {
		return Result{}, err
	}
	result, unchanged, err := imported(ctx, db, team, origin, refs)
	if err != nil || unchanged {
		return result, err
	}
	err = db.Transaction(ctx, func(tx pgx.Tx) error {
		result, err = importInto(ctx, tx, team, source, progress)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// importInto does the import in a transaction.
func importInto(ctx context.Context, tx pgx.Tx, team uuid.UUID, source Source, progress func(Progress)) (Result, error) {
	origin := source.Origin()
	// The wait for another import of the repository may be long.
	// An import that a power cut takes back is made again by the next start.
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = 0; SET LOCAL synchronous_commit = off`); err != nil {
		return Result{}, err
	}
	repository, err := lockRepository(ctx, tx, team, origin)
	if err != nil {
		return Result{}, err
	}
	// Read again under the lock: another import may have stored what is newer than
	// the refs that were read before it.
	refs, err := source.Refs(ctx)
	if err != nil {
		return Result{}, err
	}
	result, unchanged, err := imported(ctx, tx, team, origin, refs)
	if err != nil || unchanged {
		return result, err
	}

	commits, err := writeCommits(ctx, tx, repository, source, refs.Tips, progress)
	if err != nil {
		return Result{}, err
	}
	graph := commits.graph
	if err := graph.whole(); err != nil {
		return Result{}, err
	}
	graph.measure()
	wanted, by, err := deploymentsOf(refs, graph)
	if err != nil {
		return Result{}, err
	}
	changes := changesOf(wanted, graph)

	result = Result{Repository: repository, Name: origin.Name, DeployedBy: by, Skipped: refs.Skipped, Commits: commits.written}
	result.Service, result.Environment, err = saveService(ctx, tx, repository, origin.Name, by)
	if err != nil {
		return Result{}, err
	}
	written, err := writeDeployments(ctx, tx, result.Environment, wanted, changes, graph)
	if err != nil {
		return Result{}, err
	}
	result.Deployments, result.Changes = written.deployments, written.changes

	zone, err := lockTimeZone(ctx, tx, team)
	if err != nil {
		return Result{}, err
	}
	if err := markDays(ctx, tx, "commits", repository, zone, commits.touched); err != nil {
		return Result{}, err
	}
	if err := markDays(ctx, tx, "deployments", result.Environment, zone, written.touched); err != nil {
		return Result{}, err
	}
	return result, saveImported(ctx, tx, repository, fingerprint(origin, refs))
}

// rules is raised when the same refs would give other deployments than before, so
// that what is stored is computed again. Commits that have a row keep it.
const rules = 1

// fingerprint is a hash of everything that the facts of a history follow from:
// its commits are fixed by the tips.
func fingerprint(origin Origin, refs Refs) string {
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %q main %x\n", rules, origin.Name, refs.Main)
	for _, sha := range slices.SortedFunc(slices.Values(refs.Tips), slices.Compare) {
		fmt.Fprintf(hash, "tip %x\n", sha)
	}
	byName := func(a, b Tag) int { return cmp.Compare(a.Name, b.Name) }
	for _, tag := range slices.SortedFunc(slices.Values(refs.Versions), byName) {
		at := int64(0)
		if !tag.At.IsZero() {
			at = tag.At.Unix()
		}
		fmt.Fprintf(hash, "tag %q %x %d\n", tag.Name, tag.SHA, at)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
