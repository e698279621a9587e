package auth

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/identity"
)

type publicKeysOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         PublicKeys
}

// PublicKeys is a JWK set (RFC 7517).
type PublicKeys struct {
	Keys []identity.PublicKey `json:"keys" nullable:"false"`
}

func (a *accounts) publicKeys(ctx context.Context, _ *struct{}) (*publicKeysOutput, error) {
	keys, err := a.verifier.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	return &publicKeysOutput{CacheControl: "public, max-age=300", Body: PublicKeys{Keys: keys}}, nil
}
