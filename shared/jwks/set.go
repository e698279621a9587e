package jwks

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// leastBits is the shortest key that is one, and mostBits the longest: a check takes
// four times as long with twice the bits, and whoever sends a token has it made.
const leastBits, mostBits = 2048, 8192

// parse reads a JWK set: of its keys those that check RS256.
func parse(text []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct{ Kid, Kty, Use, Alg, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("what is said are no keys: %w", err)
	}
	held := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, nErr := base64.RawURLEncoding.DecodeString(k.N)
		e, eErr := base64.RawURLEncoding.DecodeString(k.E)
		if k.Kid == "" || k.Kty != "RSA" || k.Use != "sig" || k.Alg != "RS256" || nErr != nil || eErr != nil {
			continue
		}
		modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
		if bits := modulus.BitLen(); bits < leastBits || bits > mostBits || exponent.BitLen() > 31 || exponent.Cmp(big.NewInt(2)) <= 0 {
			continue
		}
		held[k.Kid] = &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	}
	if len(held) == 0 {
		return nil, errors.New("none of the keys that are said checks RS256")
	}
	return held, nil
}

// freshFor is how long an answer may be used (RFC 9111, sections 4.2.1 and 5.1).
func freshFor(h http.Header) time.Duration {
	age, _ := strconv.ParseInt(h.Get("Age"), 10, 32)
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if seconds, found := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); found {
			most, _ := strconv.ParseInt(seconds, 10, 32)
			return time.Duration(most-age) * time.Second
		}
	}
	return 0
}
