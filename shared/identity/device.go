package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"slices"
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

// Device is a browser that has signed in to an account before. The zero one is none.
type Device struct {
	ID    uuid.UUID
	Epoch int64 // of the account at that time: another one since has made it a stranger
}

// deviceClaims are a device token's claims: sub is the account's pseudonym.
type deviceClaims struct {
	claims
	Epoch int64 `json:"epoch"`

	account, device uuid.UUID
}

// UnmarshalJSON reads the claims strictly.
func (c *deviceClaims) UnmarshalJSON(text []byte) (err error) {
	members := c.members()
	members["epoch"] = &c.Epoch
	if err := members.readWhole(text); err != nil {
		return flaw("has a claims set that " + err.Error())
	}
	if err := c.times(deviceLifetime); err != nil {
		return err
	}
	c.account, _, c.device, err = c.ids()
	return err
}

// Pseudonyms returns what stands for a text where it must not be read: the same for
// the same text, and of no use to those who do not hold the keys. The first is by the
// key that signs; the others are what it was called, or will be, by the other keys.
func (s *Signer) Pseudonyms(ctx context.Context, purpose, text string) ([][16]byte, error) {
	keys, err := s.refresh.get(ctx)
	if err != nil {
		return nil, err
	}
	names := make([][16]byte, len(keys.order))
	for i, k := range keys.order {
		mac := hmac.New(sha256.New, k.signs.([]byte))
		mac.Write([]byte(purpose + "\x00" + text))
		names[i] = [16]byte(mac.Sum(nil))
	}
	return names, nil
}

// KnowDevice returns the value of Set-Cookie by which a browser is known to have
// signed in to the account of this pseudonym, at this epoch of it.
func (s *Signer) KnowDevice(ctx context.Context, account [16]byte, epoch int64, now time.Time) (string, error) {
	keys, err := s.refresh.get(ctx)
	if err != nil {
		return "", err
	}
	device := uuid.New().String()
	token, err := deviceForm.sign(keys.first, &deviceClaims{
		claims: claims{
			Issuer: s.issuer, Audience: deviceForm.audience, User: uuid.UUID(account).String(), Session: device, ID: device,
			IssuedAt: now.Unix(), Expires: now.Add(deviceLifetime).Unix(),
		},
		Epoch: epoch,
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
// the account before, which goes by these pseudonyms; the zero one where there is no
// such cookie. Of several none counts: a browser keeps one __Host- cookie of a name.
// It fails only if the keys cannot be used.
func (in *CookieInput) Device(ctx context.Context, signer *Signer, account [][16]byte) (Device, error) {
	if len(in.devices) != 1 {
		return Device{}, nil
	}
	c := &deviceClaims{}
	err := deviceForm.read(ctx, in.devices[0], signer.device, &signer.refresh, c)
	switch {
	case err == nil && slices.Contains(account, [16]byte(c.account)):
		return Device{c.device, c.Epoch}, nil
	case err != nil && fault.From(err).Kind == fault.Unavailable:
		return Device{}, err
	}
	return Device{}, nil
}
