//go:build !linux

package server

import (
	"os/exec"
	"strconv"
	"syscall"
)

// dieWithParent does nothing where the kernel offers no such thing: what we
// leave behind, the next start ends.
func dieWithParent(*syscall.SysProcAttr) {}

// commandLine returns the arguments of a process, joined by spaces, and "" when
// it has ended.
func commandLine(pid int) string {
	line, _ := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return string(line)
}
