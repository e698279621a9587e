// Package sample keeps the durations of one metric so that percentiles over any
// stretch of time come from the durations themselves and never from other
// percentiles. Few are kept as they are; many become a DDSketch, whose answers
// are within Accuracy. Where they are stored is left to rollup, what they mean to
// metrics.
package sample

import (
	"fmt"
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

const (
	// Exact is the most durations that one stored day keeps as they are.
	Exact = 2000
	// Longest is the longest duration that is kept, in seconds: 68 years.
	// Anything beyond tells of a broken clock.
	Longest = math.MaxInt32
	// Accuracy is the relative error of percentiles that a sketch took part in.
	Accuracy = 0.01
)

// Sketch returns the stored form of the durations, in seconds from 0. The same
// durations give the same bytes, in whatever order they come.
func Sketch(seconds []int32) []byte {
	s := newSketch()
	add(s, seconds)
	var encoded []byte
	s.Encode(&encoded, false)
	return encoded
}

// Distribution gathers the durations of several days. The zero value is empty.
type Distribution struct {
	values []int32
	sketch *ddsketch.DDSketch // of the days that are stored as sketches; nil while there is none
}

// Add takes in durations that were kept as they are, in seconds from 0.
func (d *Distribution) Add(seconds []int32) { d.values = append(d.values, seconds...) }

// AddSketch takes in what Sketch stored of n durations. It fails, and leaves d as
// it was, when encoded is anything else.
func (d *Distribution) AddSketch(encoded []byte, n int) error {
	s, err := decode(encoded)
	if err != nil {
		return fmt.Errorf("a stored sketch cannot be read: %w", err)
	}
	if s.GetCount() != float64(n) {
		return fmt.Errorf("a stored sketch holds %v durations, and not the %d it was made of", s.GetCount(), n)
	}
	d.merge(s)
	return nil
}

// Merge takes in what another distribution holds.
func (d *Distribution) Merge(other *Distribution) {
	d.Add(other.values)
	if other.sketch != nil {
		d.merge(other.sketch)
	}
}

func (d *Distribution) merge(s *ddsketch.DDSketch) {
	if d.sketch == nil {
		d.sketch = newSketch()
	}
	must(d.sketch.MergeWith(s)) // they have one mapping
}

// decode reads a sketch and trusts nothing: the library's reader passes over a
// store that breaks off in the middle, and its dense store panics on bins from
// out of this world. So it reads into a sparse one, and each bin is looked at.
func decode(encoded []byte) (*ddsketch.DDSketch, error) {
	read, err := ddsketch.DecodeDDSketch(encoded, store.SparseStoreConstructor, newMapping())
	if err != nil {
		return nil, err
	}
	s := newSketch()
	take := func(value, count float64) bool {
		if !(value >= 0 && value <= Longest*(1+Accuracy) && count > 0 && count <= math.MaxInt32) {
			err = fmt.Errorf("%v durations of %v seconds", count, value)
		} else {
			err = s.AddWithCount(value, count)
		}
		return err != nil
	}
	read.ForEach(take)
	return s, err
}

// N is the number of durations.
func (d *Distribution) N() int {
	n := len(d.values)
	if d.sketch != nil {
		n += int(d.sketch.GetCount())
	}
	return n
}

// Exact tells whether all durations were kept as they are, so that percentiles
// are true to the last bit.
func (d *Distribution) Exact() bool { return d.sketch == nil }

// Percentiles returns the values, in seconds, below which the given fractions
// (0 to 1) of the durations lie, with linear interpolation between neighbours as
// percentile_cont has it. It returns nil when there are no durations.
func (d *Distribution) Percentiles(fractions ...float64) []float64 {
	if d.N() == 0 {
		return nil
	}
	at := d.ranked()
	percentiles := make([]float64, len(fractions))
	for i, fraction := range fractions {
		position := fraction * float64(d.N()-1)
		below, above := at(int(math.Floor(position))), at(int(math.Ceil(position)))
		percentiles[i] = below + (position-math.Floor(position))*(above-below)
	}
	return percentiles
}

// ranked returns a function that finds the duration of a rank, from 0.
func (d *Distribution) ranked() func(rank int) float64 {
	if d.Exact() {
		slices.Sort(d.values)
		return func(rank int) float64 { return float64(d.values[rank]) }
	}
	all := d.sketch.Copy()
	add(all, d.values)
	return func(rank int) float64 {
		// Not GetValueAtQuantile: a rank turned into a quantile and back may
		// come out a hair below itself and find the neighbour.
		rank -= int(all.GetZeroCount())
		if rank < 0 {
			return 0
		}
		return all.Value(all.GetPositiveValueStore().KeyAtRank(float64(rank)))
	}
}

func newSketch() *ddsketch.DDSketch {
	return ddsketch.NewDDSketchFromStoreProvider(newMapping(), newStore)
}

func newStore() store.Store { return store.NewDenseStore() }

func newMapping() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(Accuracy)
	must(err) // Accuracy is between 0 and 1
	return m
}

func add(s *ddsketch.DDSketch, seconds []int32) {
	for _, value := range seconds {
		must(s.Add(float64(value))) // an int32 is within any sketch's limits
	}
}

// must holds what the comment beside its call says to be so.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
