package history

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// mainLines are where the main line ends, the most telling first: what the
// remote calls its default branch, then the usual names.
var mainLines = []string{
	"refs/remotes/origin/HEAD",
	"refs/heads/main", "refs/heads/master",
	"refs/remotes/origin/main", "refs/remotes/origin/master",
}

// refFormat has a line for each ref. creatordate is the tagger's date of an
// annotated tag, and the committer's of a commit.
const refFormat = "%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)%00%(creatordate:unix)"

// ref is one line of refFormat.
type ref struct {
	name    string
	object  string // hex
	kind    string // of the object: commit, tag, tree, blob
	created []byte
}

// Refs reads HEAD, branches, remote branches and tags. Notes, the stash and
// whatever else has refs is no part of the history.
func (r *Repository) Refs(ctx context.Context) (Refs, error) {
	out, err := r.run(ctx, nil, "for-each-ref", "--format="+refFormat, "refs/heads", "refs/remotes", "refs/tags")
	if err != nil {
		return Refs{}, err
	}
	list, err := parseRefs(out)
	if err != nil {
		return Refs{}, err
	}
	if err := r.peel(ctx, list); err != nil {
		return Refs{}, err
	}
	head, err := r.head(ctx)
	if err != nil {
		return Refs{}, err
	}
	return r.gather(list, head)
}

// head returns the commit that is checked out where the repository itself stands,
// in hex; empty on an unborn branch. A linked work tree has another, and is the
// same repository.
func (r *Repository) head(ctx context.Context) (string, error) {
	out, err := r.run(ctx, nil, "-C", r.common, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && failed.ExitCode() == 1 {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// parseRefs reads lines of refFormat. A tag stands for the object it names; one
// that names another tag is left for peel.
func parseRefs(out []byte) ([]ref, error) {
	var list []ref
	for line := range bytes.Lines(out) {
		fields := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte{0})
		if len(fields) != 6 {
			return nil, fmt.Errorf("git printed a ref that cannot be read: %q", line)
		}
		one := ref{name: string(fields[0]), object: string(fields[1]), kind: string(fields[2]), created: fields[5]}
		if one.kind == "tag" && string(fields[4]) != "tag" {
			one.object, one.kind = string(fields[3]), string(fields[4])
		}
		list = append(list, one)
	}
	return list, nil
}

// peel resolves tags that name tags, which for-each-ref does not follow, all in
// one process.
func (r *Repository) peel(ctx context.Context, list []ref) error {
	var nested []int
	var ask bytes.Buffer
	for i, one := range list {
		if one.kind == "tag" {
			nested = append(nested, i)
			fmt.Fprintf(&ask, "%s^{}\n", one.object)
		}
	}
	if len(nested) == 0 {
		return nil
	}
	out, err := r.run(ctx, ask.Bytes(), "cat-file", "--batch-check=%(objectname) %(objecttype)")
	if err != nil {
		return err
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	for at, i := range nested {
		found := false
		if at < len(answers) {
			list[i].object, list[i].kind, found = strings.Cut(answers[at], " ")
		}
		if !found {
			return fmt.Errorf("git left %s unresolved", list[i].name)
		}
	}
	return nil
}

// gather sorts refs into what a history needs of them.
func (r *Repository) gather(list []ref, head string) (Refs, error) {
	var refs Refs
	seen := map[string][]byte{} // hex of a tip -> sha
	commits := map[string][]byte{}
	tip := func(object string) ([]byte, error) {
		if sha, ok := seen[object]; ok {
			return sha, nil
		}
		sha, err := parseSHA([]byte(object))
		if err != nil {
			return nil, err
		}
		seen[object] = sha
		refs.Tips = append(refs.Tips, sha)
		return sha, nil
	}
	for _, one := range list {
		short, isTag := strings.CutPrefix(one.name, "refs/tags/")
		version := isTag && r.versions.MatchString(short)
		if isTag && !version {
			refs.Skipped.OtherTags++
		}
		if one.kind != "commit" {
			if version {
				refs.Skipped.NotCommits++
			}
			continue
		}
		sha, err := tip(one.object)
		if err != nil {
			return Refs{}, err
		}
		commits[one.name] = sha
		if version {
			refs.Versions = append(refs.Versions, Tag{Name: tagName(short), SHA: sha, At: created(one)})
		}
	}
	if head != "" {
		sha, err := tip(head)
		if err != nil {
			return Refs{}, err
		}
		refs.Main = sha
	}
	for _, name := range mainLines {
		if sha, ok := commits[name]; ok {
			refs.Main = sha
			break
		}
	}
	return refs, nil
}

// tagName returns the name of a tag as text. Escapes keep two names apart that
// are no UTF-8; a backslash is not allowed in a tag.
func tagName(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	quoted := strconv.QuoteToASCII(name)
	return quoted[1 : len(quoted)-1]
}

// created returns when a ref's object was made; old tags do not say.
func created(r ref) time.Time {
	if len(r.created) == 0 {
		return time.Time{}
	}
	return instant(r.created)
}

// parseSHA reads a sha in hex: 20 bytes, or 32 of a SHA-256 repository.
func parseSHA(text []byte) ([]byte, error) {
	if len(text) != 40 && len(text) != 64 {
		return nil, fmt.Errorf("git printed %q where a sha should be", text)
	}
	sha := make([]byte, len(text)/2)
	_, err := hex.Decode(sha, text)
	return sha, err
}
