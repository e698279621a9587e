package zone_test

import (
	"testing"

	"github.com/devops-dashboard/dashboard/shared/zone"
)

// Where the machine has no list of zones, Go's own stands in: some of the names
// that must be refused are then unknown anyway.
func TestKnown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"UTC":                            true,
		"Europe/Berlin":                  true,
		"America/Argentina/Buenos_Aires": true,
		"Etc/GMT+5":                      true,
		"EST5EDT":                        true,
		"":                               false,
		"Local":                          false,
		"localtime":                      false,
		"posixrules":                     false,
		"Factory":                        false,
		"posix/Europe/Berlin":            false,
		"right/UTC":                      false,
		"posix":                          false,
		"Europe":                         false,
		"Europe/Atlantis":                false,
		"CET-1CEST":                      false,
		"zone.tab":                       false,
		"../../etc/localtime":            false,
		"/usr/share/zoneinfo/UTC":        false,
	} {
		if got := zone.Known(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}
