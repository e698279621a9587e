package identity

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Refresh is what a refresh token says. Everything in it comes from the session's
// row, so that callers who are given the same row are given the same token, byte
// for byte.
type Refresh struct {
	ID         uuid.UUID // the row's jti while the token is current
	User       uuid.UUID
	Session    uuid.UUID
	Generation int64
	IssuedAt   time.Time // sent in whole seconds
	ExpiresAt  time.Time // sent in whole seconds; judged by the database's clock alone
}

// refreshClaims are a refresh token's claims, as golang-jwt wants them.
type refreshClaims struct {
	claims
	Generation int64 `json:"gen"`

	refresh Refresh
}

// refreshMost is longer than any session may be.
const refreshMost = 366 * 24 * time.Hour

// UnmarshalJSON reads the claims strictly.
func (c *refreshClaims) UnmarshalJSON(text []byte) (err error) {
	members := c.members()
	members["gen"] = &c.Generation
	if err := members.readWhole(text); err != nil {
		return flaw("has a claims set that " + err.Error())
	}
	if c.Generation < 0 {
		return flaw("has a gen below 0")
	}
	if err := c.times(refreshMost); err != nil {
		return err
	}
	r := &c.refresh
	r.Generation = c.Generation
	r.IssuedAt, r.ExpiresAt = time.Unix(c.IssuedAt, 0).UTC(), time.Unix(c.Expires, 0).UTC()
	r.User, r.Session, r.ID, err = c.ids()
	return err
}

// GetExpirationTime hides the time from golang-jwt, which would judge it by this
// instance's clock. The statement that rotates the token judges it.
func (c *refreshClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
