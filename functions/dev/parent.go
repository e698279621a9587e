package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// watchParent calls orphaned when the "go run" that started this process is
// gone: go run does not pass on a SIGTERM. A process started otherwise may
// outlive its parent.
func watchParent(ctx context.Context, orphaned func()) {
	parent := os.Getppid()
	if programName(parent) != "go" {
		return
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if os.Getppid() != parent {
				orphaned()
				return
			}
		}
	}
}

// programName is the name of a running program, or "" where the system does not
// tell.
func programName(pid int) string {
	if name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil {
		return strings.TrimSpace(string(name))
	}
	name, _ := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	path := strings.TrimSpace(string(name))
	return path[strings.LastIndex(path, "/")+1:]
}
