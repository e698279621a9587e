package secrets

import "time"

// What the tests know of the package's inside.
const (
	FreshFor  = freshFor
	Soonest   = soonest
	FirstTime = firstTime
	AgainTime = againTime
)

// GiveUpAfter shortens the time that a later read may take.
func (v *Value) GiveUpAfter(d time.Duration) { v.again = d }
