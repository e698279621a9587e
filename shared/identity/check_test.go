package identity_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
)

// members returns the members of the n-th key in a set.
func members(t *testing.T, set string, n int) map[string]string {
	t.Helper()
	var parsed struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(set), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed.Keys[n]
}

// join puts the keys of several sets into one.
func join(sets ...string) string {
	var keys []string
	for _, set := range sets {
		keys = append(keys, strings.TrimSuffix(strings.TrimPrefix(set, `{"keys":[`), "]}"))
	}
	return `{"keys":[` + strings.Join(keys, ",") + "]}"
}

// starts returns what a process with these settings says instead of starting.
func starts(settings map[string]string, needs ...function.Need) (refusal string) {
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	_, err := function.Handler(env, function.Function{Name: "f", Needs: needs, Routes: func(*httpapi.API, *function.Env) {}})
	if err != nil {
		return err.Error()
	}
	return ""
}

// A process with keys that it could not use does not start, and says all that is
// wrong at once.
func TestUnusableKeysKeepAProcessFromStarting(t *testing.T) {
	t.Parallel()
	good, other := identitytest.Settings(t), identitytest.Settings(t)
	private, id := members(t, good["ACCESS_SIGNING_KEYS"], 0), newForgerOf(t, good).accessID
	secret := members(t, good["REFRESH_KEYS"], 0)["k"]
	weak := `{"keys":[{"kty":"oct","k":"` + encode([]byte("a word that is much too shrt: 1")) + `"}]}`
	for name, test := range map[string]struct {
		changes map[string]string
		want    []string
	}{
		"good": {},
		"absent": {map[string]string{"ACCESS_PUBLIC_KEYS": "", "REFRESH_KEYS": ""},
			[]string{"f: set ACCESS_PUBLIC_KEYS (", "f: set REFRESH_KEYS ("}},
		"weak, and mixed": {map[string]string{"REFRESH_KEYS": join(weak, good["ACCESS_SIGNING_KEYS"])},
			[]string{"f: REFRESH_KEYS: key 1: its \"k\" is not 32", "f: REFRESH_KEYS: key 2: is not a key for HS256"}},
		"twice": {map[string]string{"ACCESS_SIGNING_KEYS": join(good["ACCESS_SIGNING_KEYS"], good["ACCESS_SIGNING_KEYS"])},
			[]string{"f: ACCESS_SIGNING_KEYS: key 2: " + id + " is in the set twice"}},
		"private among the public": {map[string]string{"ACCESS_PUBLIC_KEYS": join(other["ACCESS_PUBLIC_KEYS"], good["ACCESS_SIGNING_KEYS"])},
			[]string{"f: ACCESS_PUBLIC_KEYS: key 2: holds a secret"}},
		"secret among the public": {map[string]string{"ACCESS_PUBLIC_KEYS": join(good["ACCESS_PUBLIC_KEYS"], good["REFRESH_KEYS"])},
			[]string{"f: ACCESS_PUBLIC_KEYS: key 2: holds a secret"}},
		"not published": {map[string]string{"ACCESS_PUBLIC_KEYS": other["ACCESS_PUBLIC_KEYS"]},
			[]string{"f: ACCESS_SIGNING_KEYS: the first key, " + id + ", is not in ACCESS_PUBLIC_KEYS"}},
		"published, as the others": {map[string]string{"ACCESS_PUBLIC_KEYS": join(other["ACCESS_PUBLIC_KEYS"], good["ACCESS_PUBLIC_KEYS"])}, nil},
		"not published yet":        {map[string]string{"ACCESS_SIGNING_KEYS": join(good["ACCESS_SIGNING_KEYS"], other["ACCESS_SIGNING_KEYS"])}, nil},
		"a seed that makes refresh tokens too": {map[string]string{"REFRESH_KEYS": `{"keys":[{"kty":"oct","k":"` + private["d"] + `"}]}`},
			[]string{"f: REFRESH_KEYS: key 1 has the same bytes as the Ed25519 key " + id}},
		"a public key that makes refresh tokens": {map[string]string{"REFRESH_KEYS": join(good["REFRESH_KEYS"], `{"keys":[{"kty":"oct","k":"`+private["x"]+`"}]}`)},
			[]string{"f: REFRESH_KEYS: key 2 has the same bytes as the Ed25519 key " + id}},
		"one that only verifies": {map[string]string{
			"ACCESS_PUBLIC_KEYS": join(good["ACCESS_PUBLIC_KEYS"], other["ACCESS_PUBLIC_KEYS"]),
			"REFRESH_KEYS":       `{"keys":[{"kty":"oct","k":"` + members(t, other["ACCESS_PUBLIC_KEYS"], 0)["x"] + `"}]}`,
		}, []string{"f: REFRESH_KEYS: key 1 has the same bytes"}},
		"all of it": {map[string]string{"ACCESS_PUBLIC_KEYS": join(other["ACCESS_SIGNING_KEYS"], other["ACCESS_PUBLIC_KEYS"]), "ACCESS_SIGNING_KEYS": "[]", "REFRESH_KEYS": weak},
			[]string{"f: ACCESS_PUBLIC_KEYS: key 1: holds a secret", "f: ACCESS_SIGNING_KEYS: is not a JSON object", "f: REFRESH_KEYS: key 1: its \"k\""}},
		"unpublished beside a bad one": {map[string]string{"ACCESS_PUBLIC_KEYS": join(other["ACCESS_PUBLIC_KEYS"], `{"keys":[{"kty":"RSA"}]}`)},
			[]string{"f: ACCESS_PUBLIC_KEYS: key 2: is not an Ed25519 key", "f: ACCESS_SIGNING_KEYS: the first key, "}},
		"the first one bad": {map[string]string{"ACCESS_SIGNING_KEYS": join(`{"keys":[{"kty":"RSA"}]}`, other["ACCESS_SIGNING_KEYS"])},
			[]string{"f: ACCESS_SIGNING_KEYS: key 1: is not an Ed25519 key"}},
		"weak, and not published": {map[string]string{"ACCESS_SIGNING_KEYS": join(other["ACCESS_SIGNING_KEYS"], `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"`+private["x"]+`","d":"`+encode(make([]byte, 32))+`"}]}`)},
			[]string{"f: ACCESS_SIGNING_KEYS: key 2: its \"d\" is not 32 random bytes", "f: ACCESS_SIGNING_KEYS: the first key, "}},
		// Nobody reads these before they are needed.
		"references": {map[string]string{"ACCESS_PUBLIC_KEYS": "sm://a", "ACCESS_SIGNING_KEYS": "sm://b", "REFRESH_KEYS": "sm://c"}, nil},
		"some":       {map[string]string{"ACCESS_PUBLIC_KEYS": "sm://a", "REFRESH_KEYS": weak}, []string{"f: REFRESH_KEYS: key 1: its \"k\""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(good)
			maps.Copy(settings, test.changes)
			got := starts(settings, identity.VerifyNeed, identity.SignNeed)
			if len(test.want) == 0 {
				if got != "" {
					t.Errorf("refused: %s", got)
				}
				return
			}
			lines := strings.Split(got, "\n")
			if lines[0] != "settings are missing or wrong:" || len(lines) != len(test.want)+1 {
				t.Fatalf("it says %s", got)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(lines[i+1], want) {
					t.Errorf("line %d is %s, want %s", i+1, lines[i+1], want)
				}
			}
			for _, hidden := range []string{private["d"], secret, encode([]byte("a word")), members(t, other["ACCESS_SIGNING_KEYS"], 0)["d"]} {
				if strings.Contains(got, hidden) {
					t.Errorf("it tells a secret: %s", got)
				}
			}
		})
	}
}

// A function that only checks tokens looks at public keys only.
func TestWhatOnlyVerifiesStartsWithPublicKeys(t *testing.T) {
	t.Parallel()
	public := map[string]string{"ACCESS_PUBLIC_KEYS": identitytest.Settings(t)["ACCESS_PUBLIC_KEYS"]}
	if got := starts(public, identity.VerifyNeed); got != "" {
		t.Error(got)
	}
	public["ACCESS_PUBLIC_KEYS"] = "{}"
	if diff := cmp.Diff("settings are missing or wrong:\nf: ACCESS_PUBLIC_KEYS: lacks the member \"keys\"", starts(public, identity.VerifyNeed)); diff != "" {
		t.Error(diff)
	}
}
