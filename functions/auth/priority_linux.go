package auth

import "syscall"

// giveWay has the calling thread run only where no other wants to. On Linux the
// priority of a process is that of each thread. Where the system refuses, hashes
// are computed all the same.
func giveWay() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19) }
