package heap

import (
	"runtime/debug"
	"testing"
)

func TestServeGivesTheCollectorBack(t *testing.T) {
	if got := debug.SetGCPercent(-1); got != -1 {
		t.Errorf("while a process starts, the collector runs at %d percent", got)
	}
	if got := debug.SetMemoryLimit(-1); got != startBytes {
		t.Errorf("a start may take %d bytes", got)
	}
	for range 2 {
		Serve()
		if got := debug.SetGCPercent(percent); got != percent || percent == -1 {
			t.Errorf("then it runs at %d percent, not at the %d that Go chose", got, percent)
		}
		if got := debug.SetMemoryLimit(-1); got != limit || limit == startBytes {
			t.Errorf("then its limit is %d, not the %d that Go chose", got, limit)
		}
	}
}
