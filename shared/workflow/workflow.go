// Package workflow reads the identity tokens that GitHub Actions gives to jobs, by
// which a pipeline reports without a secret of ours. Which repositories are trusted,
// and that a token is good once, is left to package access.
package workflow

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/jwks"
)

// GitHub signs the tokens of github.com.
const gitHub = "https://token.actions.githubusercontent.com"

const (
	issuerSetting   = "WORKFLOW_ISSUER"
	audienceSetting = "WORKFLOW_AUDIENCE"
)

// Need declares that a function takes tokens of workflows.
var Need = function.Need{Name: "workflow", Check: check, Settings: []function.Setting{
	{Name: issuerSetting, Default: gitHub, Doc: "who signs the tokens of workflows: another than github.com's for GitHub Enterprise, such as https://ghe.example.com/_services/token"},
	{Name: audienceSetting, Optional: true, Doc: "the audience that workflows ask tokens for; unset, it is PUBLIC_ORIGIN, and without that no workflow reports"},
}}

// stale is how long GitHub's keys are used on while it is away. A job does not come
// again by itself, and a key that was withdrawn in that hour would have to be in the
// hands of somebody who also keeps us from GitHub.
const stale = time.Hour

// keysOf is where an issuer publishes its keys: GitHub's configuration documents
// name no other place, on github.com, for an enterprise and on a server.
func keysOf(issuer string) jwks.Source {
	return jwks.Source{Name: "GitHub's keys", URL: issuer + "/.well-known/jwks", Stale: stale}
}

// check says what is wrong with the settings. An issuer is compared byte for byte
// with what tokens say.
func check(setting func(string) string) (errs []error) {
	issuer := setting(issuerSetting)
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(issuer, "/"):
		errs = append(errs, fmt.Errorf("%s must be an address without a slash at its end, such as %s, not %q", issuerSetting, gitHub, issuer))
	case u.Scheme != "https" && (u.Scheme != "http" || !httpapi.IsLoopback(u.Hostname())):
		errs = append(errs, fmt.Errorf("%s must be https: whoever is on the way could sign in any job's name", issuerSetting))
	}
	if strings.ContainsAny(setting(audienceSetting), " \t\r\n") {
		errs = append(errs, errors.New(audienceSetting+" must have no spaces in it"))
	}
	return errs
}

// VerifierFor returns the process's verifier. It asks for keys at the first token.
func VerifierFor(env *function.Env) *Verifier {
	return function.Shared(env, Need, func() *Verifier {
		v := &Verifier{issuer: env.Setting(issuerSetting), audience: env.Setting(audienceSetting), now: env.Now}
		if v.audience == "" {
			v.audience = env.PublicOrigin()
		}
		v.keys = jwks.For(env, keysOf(v.issuer))
		return v
	})
}
