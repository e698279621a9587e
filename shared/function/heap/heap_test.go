package heap

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestServe is one test, since what a process starts with is seen once.
func TestServe(t *testing.T) {
	defer func() { debug.SetGCPercent(-1); debug.SetMemoryLimit(startBytes) }() // for -count
	t.Run("gives the collector back", givesTheCollectorBack)
	t.Run("uses the memory that there is", usesTheMemoryThatThereIs)
}

func givesTheCollectorBack(t *testing.T) {
	if got := debug.SetGCPercent(-1); got != -1 {
		t.Errorf("while a process starts, the collector runs at %d percent", got)
	}
	if got := debug.SetMemoryLimit(-1); got != startBytes {
		t.Errorf("a start may take %d bytes", got)
	}
	for range 2 {
		Serve(0)
		if got := debug.SetGCPercent(percent); got != percent || percent == -1 {
			t.Errorf("then it runs at %d percent, not at the %d that Go chose", got, percent)
		}
		if got := debug.SetMemoryLimit(-1); got != limit || limit == startBytes {
			t.Errorf("then its limit is %d, not the %d that Go chose", got, limit)
		}
	}
}

// A process whose memory is bounded uses it, unless somebody has decided
// otherwise by GOGC and GOMEMLIMIT.
func usesTheMemoryThatThereIs(t *testing.T) {
	wasPercent, wasLimit := percent, limit
	defer func() { percent, limit = wasPercent, wasLimit; Serve(0) }()
	for _, test := range []struct {
		percent, wantPercent int
		limit, wantLimit     int64
	}{
		{100, 400, math.MaxInt64, 80 << 20},
		{50, 50, math.MaxInt64, 80 << 20},
		{100, 400, 30 << 20, 30 << 20},
	} {
		percent, limit = test.percent, test.limit
		Serve(100 << 20)
		if got := debug.SetGCPercent(100); got != test.wantPercent {
			t.Errorf("GOGC=%d: it runs at %d percent, want %d", test.percent, got, test.wantPercent)
		}
		if got := debug.SetMemoryLimit(-1); got != test.wantLimit {
			t.Errorf("GOMEMLIMIT=%d: the limit is %d, want %d", test.limit, got, test.wantLimit)
		}
	}
}
