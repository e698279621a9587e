package auth

import (
	"sync"

	useragent "github.com/medama-io/go-useragent"
)

// agents is made at the first list of sessions: it takes some 20 ms.
var agents = sync.OnceValue(useragent.NewParser)

// device says what sent a User-Agent, in words that its owner will recognise.
// What is no browser is shown as it calls itself.
func device(userAgent string) string {
	if userAgent == "" {
		return "An unknown device"
	}
	agent := agents().Parse(userAgent)
	browser, system := agent.Browser().String(), agent.OS().String()
	switch {
	case browser == "":
		return userAgent
	case system == "":
		return browser
	}
	return browser + " on " + system
}
