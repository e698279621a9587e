package auth

// For tests of the package's outside.
var (
	Device  = device
	GiveWay = giveWay
)
