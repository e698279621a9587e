package auth

import (
	"context"
	"time"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// The limits of what hashes or writes. Whoever knows a password signs in a few
// times a day; a household shares an address, an office a network.
var (
	loginAddress = ratelimit.Policy{Name: "login-address", By: ratelimit.Address, Burst: 10, Window: time.Minute, Secret: true}
	loginNetwork = ratelimit.Policy{Name: "login-network", By: ratelimit.Network, Burst: 60, Window: time.Minute, Secret: true}
	loginAccount = ratelimit.Policy{Name: "login-account", By: ratelimit.Account, Burst: 10, Window: 10 * time.Minute, Secret: true, Backoff: true}
	loginDevice  = ratelimit.Policy{Name: "login-device", By: ratelimit.Device, Burst: 10, Window: 10 * time.Minute, Secret: true, Backoff: true}

	registerAddress = ratelimit.Policy{Name: "register-address", By: ratelimit.Address, Burst: 10, Window: time.Minute, Secret: true}
	registerDay     = ratelimit.Policy{Name: "register-day", By: ratelimit.Address, Burst: 30, Window: 24 * time.Hour, Secret: true}
	registerNetwork = ratelimit.Policy{Name: "register-network", By: ratelimit.Network, Burst: 100, Window: 24 * time.Hour, Secret: true}
	registerAccount = ratelimit.Policy{Name: "register-account", By: ratelimit.Account, Burst: 3, Window: time.Hour, Secret: true}

	logoutAddress = ratelimit.Policy{Name: "logout-address", By: ratelimit.Address, Burst: 60, Window: time.Minute}
	passwordUser  = ratelimit.Policy{Name: "password-user", By: ratelimit.User, Burst: 10, Window: 10 * time.Minute, Secret: true}
	teamUser      = ratelimit.Policy{Name: "team-user", By: ratelimit.User, Burst: 60, Window: time.Minute}
	linkAddress   = ratelimit.Policy{Name: "link-address", By: ratelimit.Address, Burst: 30, Window: time.Minute}
	githubAddress = ratelimit.Policy{Name: "github-address", By: ratelimit.Address, Burst: 30, Window: time.Minute}
	forgotAddress = ratelimit.Policy{Name: "forgot-address", By: ratelimit.Address, Burst: 10, Window: 10 * time.Minute, Secret: true}
	forgotNetwork = ratelimit.Policy{Name: "forgot-network", By: ratelimit.Network, Burst: 60, Window: time.Hour, Secret: true}
	exportUser    = ratelimit.Policy{Name: "export-user", By: ratelimit.User, Burst: 5, Window: time.Hour}
	accountUser   = ratelimit.Policy{Name: "account-user", By: ratelimit.User, Burst: 60, Window: time.Minute}
)

// pseudonyms stand for an address in Redis, where nobody is to read it.
func (a *accounts) pseudonyms(ctx context.Context, email address) ([][16]byte, error) {
	return a.signer.Pseudonyms(ctx, "account", email.key)
}

// admit decides about an attempt on an account, before any work. The device is the
// one that the attempt counts by, if any.
func (a *accounts) admit(ctx context.Context, email address, cookies identity.CookieInput) (ratelimit.Attempt, identity.Device, error) {
	names, err := a.pseudonyms(ctx, email)
	if err != nil {
		return ratelimit.Attempt{}, identity.Device{}, err
	}
	device, err := cookies.Device(ctx, a.signer, names)
	if err != nil {
		return ratelimit.Attempt{}, identity.Device{}, err
	}
	attempt, err := ratelimit.Named(ctx, ratelimit.Subjects{Account: names[0], Device: device.ID})
	return attempt, device, err
}
