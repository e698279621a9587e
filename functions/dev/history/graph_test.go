package history

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func number(n int) []byte {
	var sha [20]byte
	// The same first bytes for some, so that the table has to look further.
	binary.LittleEndian.PutUint64(sha[:], uint64(n%7)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(sha[8:], uint64(n))
	return sha[:]
}

// drawGraph returns a history in an order that git might print it in, or not.
func drawGraph(t *rapid.T) (parents [][]int, g *graph) {
	n := rapid.IntRange(1, 40).Draw(t, "commits")
	for i := range n {
		var of []int
		if i > 0 {
			of = rapid.SliceOfNDistinct(rapid.IntRange(max(0, i-5), i-1), 0, 3, rapid.ID).Draw(t, "parents")
		}
		parents = append(parents, of)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	g = &graph{}
	for _, i := range rapid.Permutation(order).Draw(t, "order") {
		c := Commit{SHA: number(i), Authored: time.Unix(int64(i), 0), Committed: time.Unix(int64(i), 0)}
		for _, p := range parents[i] {
			c.Parents = append(c.Parents, number(p))
		}
		if _, err := g.add(&c); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.whole(); err != nil {
		t.Fatal(err)
	}
	return parents, g
}

// TestChangesAreWhatNoEarlierDeploymentReaches compares with the definition,
// taken literally.
func TestChangesAreWhatNoEarlierDeploymentReaches(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parents, g := drawGraph(t)
		g.measure()
		var reach func(i int, into map[int]bool)
		reach = func(i int, into map[int]bool) {
			if !into[i] {
				into[i] = true
				for _, p := range parents[i] {
					reach(p, into)
				}
			}
		}
		height := make([]int, len(parents))
		for i, of := range parents {
			height[i] = 1
			for _, p := range of {
				height[i] = max(height[i], height[p]+1)
			}
			if c := g.find(number(i)); int(g.nodes[c].height) != height[i] {
				t.Fatalf("commit %d is %d high, want %d", i, g.nodes[c].height, height[i])
			}
		}
		var refs Refs
		for n := range rapid.IntRange(0, 8).Draw(t, "tags") {
			i := rapid.IntRange(0, len(parents)-1).Draw(t, "tagged")
			at := rapid.Int64Range(100_000_000, 100_000_004).Draw(t, "at")
			refs.Versions = append(refs.Versions, Tag{Name: fmt.Sprintf("v%d", n), SHA: number(i), At: time.Unix(at, 0)})
		}
		refs.Main = number(len(parents) - 1)
		deployments, _, err := deploymentsOf(refs, g)
		if err != nil {
			t.Fatal(err)
		}
		got := map[int32][]string{}
		for _, c := range changesOf(deployments, g) {
			d := g.nodes[c].first
			got[d] = append(got[d], string(g.sha(c)))
		}
		earlier := map[int]bool{}
		for d, one := range deployments {
			reached := map[int]bool{}
			reach(indexOf(parents, g, one.commit), reached)
			var want []string
			for r := range reached {
				if d > 0 && !earlier[r] && len(parents[r]) < 2 {
					want = append(want, string(number(r)))
				}
				earlier[r] = true
			}
			slices.Sort(want)
			slices.Sort(got[int32(d)])
			if !slices.Equal(want, got[int32(d)]) {
				t.Fatalf("deployment %d brought %d commits, want %d", d, len(got[int32(d)]), len(want))
			}
			if d == 0 != one.baseline {
				t.Fatalf("deployment %d: baseline is %v", d, one.baseline)
			}
			if d > 0 && deployments[d-1].finished > one.finished {
				t.Fatalf("deployment %d is earlier than the one before it", d)
			}
			for _, later := range deployments[d+1:] {
				if later.finished == one.finished && reached[indexOf(parents, g, later.commit)] && later.commit != one.commit {
					t.Fatalf("%s comes after its descendant %s", later.ref, one.ref)
				}
			}
		}
	})
}

func indexOf(parents [][]int, g *graph, commit int32) int {
	for i := range parents {
		if string(number(i)) == string(g.sha(commit)) {
			return i
		}
	}
	return -1
}

// BenchmarkGraph reports the memory of a commit.
func BenchmarkGraph(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		g := &graph{}
		var sha, parent [20]byte
		c := Commit{SHA: sha[:], Parents: [][]byte{parent[:]}}
		for i := range 100_000 {
			binary.LittleEndian.PutUint64(c.SHA, uint64(i)*0x9e3779b97f4a7c15)
			binary.LittleEndian.PutUint64(c.Parents[0], uint64(i+1)*0x9e3779b97f4a7c15)
			if _, err := g.add(&c); err != nil {
				b.Fatal(err)
			}
		}
		bytes := cap(g.shas) + 4*cap(g.slots) + 32*cap(g.nodes) + 4*cap(g.parents)
		b.ReportMetric(float64(bytes)/100_000, "B/commit")
	}
}
