package door

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// parseURLs reads FUNCTION_URLS, NAME=URL separated by commas, and names all that
// is wrong with it. Every function that somebody may come to through the door must
// be there; an empty text is none.
func parseURLs(text string, services []service) (map[string]*url.URL, []error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var errs []error
	urls := map[string]*url.URL{}
	for entry := range strings.SplitSeq(text, ",") {
		name, at, _ := strings.Cut(strings.TrimSpace(entry), "=")
		_, twice := urls[name]
		at = strings.TrimSpace(at)
		u, err := parseURL(at)
		switch {
		case !slices.ContainsFunc(services, func(s service) bool { return s.Name == name }):
			err = fmt.Errorf("%q is no function that the door leads to; there are %s", name, strings.Join(names(services), ", "))
		case twice:
			err = fmt.Errorf("%s stands there twice", name)
		case err != nil:
			err = fmt.Errorf("%s: %q %w", name, at, err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("FUNCTION_URLS: %w", err))
			u = nil // but known: it is not missing
		}
		urls[name] = u
	}
	for _, s := range services {
		if _, there := urls[s.Name]; !there && s.open() {
			errs = append(errs, fmt.Errorf("FUNCTION_URLS: %s is missing; add %s=https://HOST", s.Name, s.Name))
		}
	}
	return urls, errs
}

func names(services []service) []string {
	var all []string
	for _, s := range services {
		all = append(all, s.Name)
	}
	return all
}

// parseURL takes a URL only as it is the audience of a token: a scheme and a host.
// Over plain http, which has no token, it takes this machine alone.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	scheme, host, isOrigin := httpapi.CutOrigin(text)
	if err != nil || !isOrigin {
		return nil, errors.New("is not a URL such as https://auth-123456789012.europe-west1.run.app, without a path")
	}
	if port, _ := strconv.Atoi(u.Port()); port > 65535 {
		return nil, errors.New("has a port above 65535")
	}
	if scheme == "http" && !httpapi.IsLoopback(host) {
		return nil, errors.New("must be https: plain http is for functions on this machine alone")
	}
	return u, nil
}
