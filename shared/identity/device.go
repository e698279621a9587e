package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// DeviceCookie is the name of the cookie by which a browser is known to have
// signed in to an account before. It opens nothing: it only keeps others from
// using up the attempts of the account's owner.
const DeviceCookie = "__Host-dd_device"

// deviceLifetime is as long as browsers keep a cookie.
const deviceLifetime = 400 * 24 * time.Hour

// deviceClaims are a device token's claims: sub is the account's pseudonym.
type deviceClaims struct {
	claims
	account, device uuid.UUID
}

// UnmarshalJSON reads the claims strictly.
func (c *deviceClaims) UnmarshalJSON(text []byte) (err error) {
	if err := c.members().readWhole(text); err != nil {
		return flaw("has a claims set that " + err.Error())
	}
	if err := c.times(deviceLifetime); err != nil {
		return err
	}
	c.account, _, c.device, err = c.ids()
	return err
}

// Pseudonym returns what stands for a text where it must not be read: the same
// for the same text, of no use to those who do not hold the keys, and another one
// once these have been rotated.
func (s *Signer) Pseudonym(ctx context.Context, purpose, text string) ([16]byte, error) {
	keys, err := s.refresh.get(ctx)
	if err != nil {
		return [16]byte{}, err
	}
	mac := hmac.New(sha256.New, keys.first.signs.([]byte))
	mac.Write([]byte(purpose + "\x00" + text))
	return [16]byte(mac.Sum(nil)[:16]), nil
}

// KnowDevice returns the value of Set-Cookie by which a browser is known to have
// signed in to the account of this pseudonym.
func (s *Signer) KnowDevice(ctx context.Context, account [16]byte, now time.Time) (string, error) {
	keys, err := s.refresh.get(ctx)
	if err != nil {
		return "", err
	}
	device := uuid.New().String()
	token, err := deviceForm.sign(keys.first, &claims{
		Issuer: s.issuer, Audience: deviceForm.audience, User: uuid.UUID(account).String(), Session: device, ID: device,
		IssuedAt: now.Unix(), Expires: now.Add(deviceLifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	c := http.Cookie{
		Name: DeviceCookie, Value: token, Path: "/", MaxAge: int(deviceLifetime / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	return c.String(), nil
}

// Device returns the device that the request's cookie proves to have signed in to
// the account before; the zero one where there is no such cookie. It fails only if
// the keys cannot be used.
func (in *CookieInput) Device(ctx context.Context, signer *Signer, account [16]byte) (uuid.UUID, error) {
	for _, value := range in.devices {
		c := &deviceClaims{}
		err := deviceForm.read(ctx, value, signer.device, &signer.refresh, c)
		switch {
		case err == nil && c.account == account:
			return c.device, nil
		case err != nil && fault.From(err).Kind == fault.Unavailable:
			return uuid.Nil, err
		}
	}
	return uuid.Nil, nil
}
