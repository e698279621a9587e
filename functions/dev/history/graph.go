package history

import (
	"encoding/binary"
	"fmt"
)

// graph is the shape of a history: commits by number, with their parents and
// times. It takes about 75 bytes of memory for a commit, whatever its message.
type graph struct {
	width   int    // bytes of a sha
	shas    []byte // width bytes for each node
	slots   []int32
	nodes   []node
	parents []int32 // of all nodes, one after the other
	walked  int
}

type node struct {
	authored  int64 // Unix seconds
	committed int64
	parent    int32 // where its parents begin in graph.parents
	count     int32 // of parents; unwalked until the log comes to this commit
	first     int32 // the deployment that brought it first, or none
	height    int32 // longest way down to a root: less than any descendant's
}

const (
	none     = -1
	unwalked = -1
)

// add records a commit and returns its number.
func (g *graph) add(c *Commit) (int32, error) {
	if g.width == 0 {
		g.width = len(c.SHA)
	}
	i, err := g.number(c.SHA)
	if err != nil {
		return 0, err
	}
	if g.nodes[i].count != unwalked {
		return 0, fmt.Errorf("the history names commit %x twice", c.SHA)
	}
	start := len(g.parents)
	for _, sha := range c.Parents {
		p, err := g.number(sha)
		if err != nil {
			return 0, err
		}
		g.parents = append(g.parents, p)
	}
	n := &g.nodes[i] // after number, which may move nodes
	n.authored, n.committed = c.Authored.Unix(), c.Committed.Unix()
	n.parent, n.count = int32(start), int32(len(c.Parents))
	g.walked++
	return i, nil
}

// number returns the number of a sha, a new one at its first mention.
func (g *graph) number(sha []byte) (int32, error) {
	if len(sha) != g.width {
		return 0, fmt.Errorf("the history mixes shas of %d and %d bytes", g.width, len(sha))
	}
	if 2*len(g.nodes) >= len(g.slots) {
		g.grow()
	}
	slot := g.slot(sha)
	if i := g.slots[slot]; i != none {
		return i, nil
	}
	i := int32(len(g.nodes))
	g.slots[slot] = i
	g.shas = append(g.shas, sha...)
	g.nodes = append(g.nodes, node{count: unwalked, first: none})
	return i, nil
}

// find returns the number of a sha, or none.
func (g *graph) find(sha []byte) int32 {
	if len(sha) != g.width || g.width == 0 {
		return none
	}
	return g.slots[g.slot(sha)]
}

// slot returns where the number of a sha stands, or would stand. A sha is a hash
// already, so its first bytes are the place to look.
func (g *graph) slot(sha []byte) int {
	mask := len(g.slots) - 1
	at := int(binary.LittleEndian.Uint64(sha)) & mask
	for {
		i := g.slots[at]
		if i == none || string(g.sha(i)) == string(sha) {
			return at
		}
		at = (at + 1) & mask
	}
}

func (g *graph) grow() {
	size := max(1024, 2*len(g.slots))
	g.slots = make([]int32, size)
	for at := range g.slots {
		g.slots[at] = none
	}
	for i := range g.nodes {
		g.slots[g.slot(g.sha(int32(i)))] = int32(i)
	}
}

// sha returns the sha of a commit; it is not to be changed.
func (g *graph) sha(i int32) []byte {
	at := int(i) * g.width
	return g.shas[at : at+g.width : at+g.width]
}

// parentsOf returns the parents of a commit that the log has come to.
func (g *graph) parentsOf(i int32) []int32 {
	n := &g.nodes[i]
	return g.parents[n.parent : n.parent+n.count]
}

// merge tells whether a commit has several parents: its changes are theirs.
func (g *graph) merge(i int32) bool { return g.nodes[i].count > 1 }

// whole returns an error if the log left out a commit that another one names.
func (g *graph) whole() error {
	for i := range g.nodes {
		if g.nodes[i].count == unwalked {
			return fmt.Errorf("the history is incomplete: commit %x is named as a parent and missing", g.sha(int32(i)))
		}
	}
	return nil
}

// measure sets each node's height, once the graph is whole. It goes depth first with a stack of its own:
// the log may name a child before or after its parent, and a history is deeper
// than a goroutine's stack should be.
func (g *graph) measure() {
	var stack []int32
	for root := range g.nodes {
		stack = append(stack, int32(root))
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			height, ready := int32(1), true
			if g.nodes[i].height == 0 {
				for _, p := range g.parentsOf(i) {
					if g.nodes[p].height == 0 {
						stack = append(stack, p)
						ready = false
					}
					height = max(height, g.nodes[p].height+1)
				}
				if !ready {
					continue
				}
				g.nodes[i].height = height
			}
			stack = stack[:len(stack)-1]
		}
	}
}

// firstParents returns the main line that ends at a commit, newest first.
func (g *graph) firstParents(tip int32) []int32 {
	line := []int32{tip}
	for {
		parents := g.parentsOf(line[len(line)-1])
		if len(parents) == 0 {
			return line
		}
		line = append(line, parents[0])
	}
}

// bring marks every commit reachable from tip that no earlier deployment brought
// as brought by this one, and appends those that are no merges to brought.
//
// Each commit is marked once, so that all deployments together cost one walk.
// The walk may stop at a mark: what a marked commit reaches is marked as well.
func (g *graph) bring(tip, deployment int32, brought []int32) []int32 {
	if g.nodes[tip].first != none {
		return brought
	}
	g.nodes[tip].first = deployment
	stack := []int32{tip}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !g.merge(i) {
			brought = append(brought, i)
		}
		for _, p := range g.parentsOf(i) {
			if g.nodes[p].first == none {
				g.nodes[p].first = deployment
				stack = append(stack, p)
			}
		}
	}
	return brought
}
