package history

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// What counts as a deployment.
const (
	ByTag    = "tag"    // each tag that looks like a version
	ByCommit = "commit" // each first-parent commit of the main line
)

// deployment is one as it is to be stored.
type deployment struct {
	id         uuid.UUID
	externalID string
	ref        string
	commit     int32 // in the graph
	finished   int64 // Unix seconds
	baseline   bool
}

// deploymentsOf returns the deployments of a history, oldest first, and how they
// were found. They are the tags that look like versions, deployed when the tag
// was made (an annotated tag says when; for a lightweight one it is the commit's
// time). A history without such tags is deployed commit by commit along its main
// line, each when it was committed.
//
// Of deployments at the same second, the one with the shorter way to a root comes
// first, and so an ancestor before its descendants; then the name decides. The
// order, and with it every set of changes, is the same however often and in how
// many steps a history is imported.
func deploymentsOf(refs Refs, g *graph) ([]deployment, string, error) {
	found, by := []deployment{}, ByTag
	for _, tag := range refs.Versions {
		i := g.find(tag.SHA)
		if i == none {
			return nil, "", fmt.Errorf("tag %s names commit %x, which the log does not hold", tag.Name, tag.SHA)
		}
		at := tag.At
		if at.IsZero() {
			at = time.Unix(g.nodes[i].committed, 0)
		}
		found = append(found, deployment{externalID: tag.Name, ref: tag.Name, commit: i, finished: bounded(at).Unix()})
	}
	if len(found) == 0 {
		by = ByCommit
		if i := g.find(refs.Main); i != none {
			for _, c := range g.firstParents(i) {
				sha := hex.EncodeToString(g.sha(c))
				found = append(found, deployment{externalID: sha, ref: sha[:10], commit: c, finished: g.nodes[c].committed})
			}
		}
	}
	slices.SortFunc(found, func(a, b deployment) int {
		return cmp.Or(
			cmp.Compare(a.finished, b.finished),
			cmp.Compare(g.nodes[a.commit].height, g.nodes[b.commit].height),
			cmp.Compare(a.externalID, b.externalID))
	})
	if len(found) > 0 {
		found[0].baseline = true
	}
	return found, by, nil
}

// changesOf marks in the graph which deployment brought each commit first, and
// returns the commits that count as changes, in order of their deployments. What
// the baseline brought cannot be known, so it is no change.
func changesOf(deployments []deployment, g *graph) []int32 {
	var brought []int32
	for d := range deployments {
		brought = g.bring(deployments[d].commit, int32(d), brought)
		if deployments[d].baseline {
			brought = brought[:0]
		}
	}
	return brought
}
