//go:build linux && !race

package auth

import "syscall"

// giveWay has the calling thread run where others leave room for it. On Linux the
// priority of a process is that of each thread. Where the system refuses, hashes
// are computed all the same.
func giveWay() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10) }
