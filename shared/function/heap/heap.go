// Package heap keeps the collector out of the way while a process starts. Half of
// a function's start are the package inits of Google's clients, which allocate a
// few megabytes that live as long as the process: collecting in between finds
// nothing and costs a tenth of the start. What a process does with its memory once
// it serves is left to Go.
package heap

import "runtime/debug"

// startBytes is how much a start may allocate before the collector runs all the
// same: also a program that never serves cannot grow without it.
const startBytes = 64 << 20

// Go initialises packages in the order of their paths as far as imports allow;
// this one imports next to nothing and comes before most of what is slow.
var (
	percent = debug.SetGCPercent(-1)
	limit   = debug.SetMemoryLimit(startBytes)
)

// Serve gives the collector back to Go, as GOGC and GOMEMLIMIT say. Further calls
// do nothing more.
func Serve() {
	debug.SetMemoryLimit(limit)
	debug.SetGCPercent(percent)
}
