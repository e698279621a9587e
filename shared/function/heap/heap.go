// Package heap keeps the collector out of the way while a process starts. Half of
// a function's start are the package inits of Google's clients, which allocate a
// few megabytes that live as long as the process: collecting in between finds
// nothing and costs a tenth of the start. Once it serves, a process uses the memory
// that it has been given: a function keeps so little alive that Go, left to itself,
// would collect after every hundredth request.
package heap

import (
	"math"
	"runtime/debug"
)

// startBytes is how much a start may allocate before the collector runs all the
// same: also a program that never serves cannot grow without it.
const startBytes = 64 << 20

// Go initialises packages in the order of their paths as far as imports allow;
// this one imports next to nothing and comes before most of what is slow.
var (
	percent = debug.SetGCPercent(-1)
	limit   = debug.SetMemoryLimit(startBytes)
)

// serving is what GOGC says, by default, of a process whose memory is bounded.
const serving = 400

// Serve gives the collector back to Go, as GOGC and GOMEMLIMIT say. Where they say
// nothing and the process has so many bytes of memory, it collects seldom, and the
// more often the nearer it comes to four fifths of that; 0 is memory without a
// bound that is known. Further calls do nothing more.
func Serve(bytes int64) {
	most, often := limit, percent
	if bytes > 0 && most == math.MaxInt64 {
		most = bytes / 5 * 4
	}
	if bytes > 0 && often == 100 {
		often = serving
	}
	debug.SetMemoryLimit(most)
	debug.SetGCPercent(often)
}
