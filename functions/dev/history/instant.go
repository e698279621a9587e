package history

import (
	"strconv"
	"time"
)

// Anyone can write any time into a commit. Times outside earliest..latest are
// moved to the nearer of the two: both are whole days in every time zone that a
// request may ask for and a date of four digits can say, and so far away that
// rollup leaves the lead times that follow from them out of its figures.
var (
	earliest = time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2099, 12, 30, 0, 0, 0, 0, time.UTC)
)

// instant returns the time of a number of Unix seconds as git prints it. What is
// no number counts as earliest, which is also what git makes of it.
func instant(seconds []byte) time.Time {
	n, err := strconv.ParseInt(string(seconds), 10, 64)
	switch {
	case err == nil:
		return bounded(time.Unix(n, 0))
	case len(seconds) > 0 && seconds[0] != '-' && digits(seconds):
		return latest // more than 63 bits
	default:
		return earliest
	}
}

func bounded(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	default:
		return t
	}
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
