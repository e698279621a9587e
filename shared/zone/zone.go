// Package zone says what is the name of a time zone: one that PostgreSQL, Go and
// the browser all know and mean the same by. What happens in a zone is left to
// those three.
package zone

import (
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the zones that a container without them does not know
)

// Known tells whether name is the IANA name of a time zone, like Europe/Berlin or
// UTC. PostgreSQL may be older than a zone and still refuse it.
func Known(name string) bool {
	// LoadLocation takes these two for UTC and for wherever the server stands.
	if name == "" || name == "Local" || machine(name) {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

// machine tells whether name is a file that lies among the zones of a machine and
// that browsers know nothing of: a choice of the machine's, a placeholder, or a
// second copy of all zones.
func machine(name string) bool {
	folder, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"localtime", "posixrules", "Factory", "posix", "right"}, folder)
}
