package sample_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

var fractions = []float64{0, .5, .75, .9, .95, 1}

func TestPercentilesOfFew(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		values []int32
		want   []float64
	}{
		{"none", nil, nil},
		{"one", []int32{7}, []float64{7, 7, 7, 7, 7, 7}},
		{"two", []int32{20, 10}, []float64{10, 15, 17.5, 19, 19.5, 20}},
		{"many alike", []int32{3, 3, 3, 3}, []float64{3, 3, 3, 3, 3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var d sample.Distribution
			d.Add(test.values)
			if diff := cmp.Diff(test.want, d.Percentiles(fractions...)); diff != "" {
				t.Error(diff)
			}
			if !d.Exact() || d.N() != len(test.values) {
				t.Errorf("exact=%v n=%d", d.Exact(), d.N())
			}
		})
	}
}

// seconds draws durations of all sizes.
func seconds(most int) *rapid.Generator[[]int32] {
	return rapid.SliceOfN(rapid.OneOf(rapid.Int32Range(0, math.MaxInt32), rapid.Int32Range(0, 100)), 0, most)
}

func TestPercentilesAreThoseOfPostgreSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	rapid.Check(t, func(r *rapid.T) {
		days := rapid.SliceOfN(seconds(60), 1, 6).Draw(r, "days")
		var d sample.Distribution
		for _, day := range days {
			d.Add(day)
		}
		var want []float64
		err := pool.QueryRow(t.Context(), "SELECT percentile_cont($1::float8[]) WITHIN GROUP (ORDER BY s) FROM unnest($2::int[]) s", fractions, slices.Concat(days...)).Scan(&want)
		if err != nil {
			r.Fatal(err)
		}
		got := d.Percentiles(fractions...)
		if len(got) != len(want) {
			r.Fatalf("got %v, want %v", got, want)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-9*want[i] {
				r.Errorf("percentile %v: got %v, want %v", fractions[i], got[i], want[i])
			}
		}
	})
}

func TestSketchesAreAccurate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		days := rapid.SliceOfN(seconds(200), 1, 5).Draw(r, "days")
		sketched := rapid.IntRange(0, len(days)-1).Draw(r, "sketched")
		var got, exact sample.Distribution
		for i, day := range days {
			exact.Add(day)
			var one sample.Distribution
			if i < sketched {
				one.Add(day)
			} else if err := one.AddSketch(sample.Sketch(day), len(day)); err != nil {
				r.Fatal(err)
			}
			before := one.Percentiles(fractions...)
			got.Merge(&one)
			got.Merge(new(sample.Distribution))
			got.Percentiles(fractions...)
			if diff := cmp.Diff(before, one.Percentiles(fractions...)); diff != "" {
				r.Fatalf("merging changed what was merged: %s", diff)
			}
		}
		if got.Exact() || got.N() != exact.N() {
			r.Fatalf("exact=%v n=%d, want n=%d", got.Exact(), got.N(), exact.N())
		}
		for i, want := range exact.Percentiles(fractions...) {
			if p := got.Percentiles(fractions...)[i]; math.Abs(p-want) > sample.Accuracy*want*(1+1e-9) {
				r.Errorf("percentile %v: got %v, want %v", fractions[i], p, want)
			}
		}
	})
}

func TestSketchDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		values := seconds(300).Draw(r, "values")
		shuffled := rapid.Permutation(values).Draw(r, "shuffled")
		if !bytes.Equal(sample.Sketch(values), sample.Sketch(shuffled)) {
			r.Error("the bytes differ")
		}
	})
}

// FuzzAddSketch asserts that no bytes break the reader, and that what it refuses
// leaves no trace.
func FuzzAddSketch(f *testing.F) {
	whole := sample.Sketch([]int32{0, 1, 60, 86_400, math.MaxInt32})
	f.Add(whole, 5)
	f.Add(whole, 4)
	f.Add(whole[:len(whole)-3], 5)
	f.Add(append(bytes.Clone(whole), whole...), 10)
	f.Add([]byte{}, 0)
	f.Add([]byte("not a sketch"), 1)
	f.Fuzz(func(t *testing.T, encoded []byte, n int) {
		d := sample.Distribution{}
		d.Add([]int32{1, 2, 3})
		if err := d.AddSketch(encoded, n); err != nil {
			if !d.Exact() || d.N() != 3 || d.Percentiles(1)[0] != 3 {
				t.Errorf("a refused sketch left %d durations", d.N())
			}
			return
		}
		if d.N() != 3+n {
			t.Errorf("%d durations, want %d", d.N(), 3+n)
		}
		d.Percentiles(fractions...)
	})
}

func TestDamagedSketchesAreRefused(t *testing.T) {
	t.Parallel()
	whole := sample.Sketch([]int32{1, 2, 3, 400})
	for length := range whole {
		if err := new(sample.Distribution).AddSketch(whole[:length], 4); err == nil {
			t.Errorf("the first %d of %d bytes pass for the whole", length, len(whole))
		}
	}
	if err := new(sample.Distribution).AddSketch(whole, 5); err == nil {
		t.Error("a sketch of 4 durations passes for one of 5")
	}
	for _, value := range []float64{-5, 1e12} {
		absurd, err := ddsketch.LogUnboundedDenseDDSketch(sample.Accuracy)
		if err != nil {
			t.Fatal(err)
		}
		if err := absurd.Add(value); err != nil {
			t.Fatal(err)
		}
		var encoded []byte
		absurd.Encode(&encoded, false)
		if err := new(sample.Distribution).AddSketch(encoded, 1); err == nil {
			t.Errorf("a sketch of %v seconds passes", value)
		}
	}
}
