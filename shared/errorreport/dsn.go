package errorreport

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// project is where the events of a project are sent, and by whom.
type project struct{ endpoint, key string }

var errDSN = errors.New("SENTRY_DSN must be as Sentry shows it, https://KEY@HOST/PROJECT")

// parseDSN reads what Sentry calls a DSN. What is wrong is not repeated.
func parseDSN(text string) (project, error) {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Hostname() == "" || at.User.Username() == "" || at.RawQuery != "" {
		return project{}, errDSN
	}
	slash := strings.LastIndexByte(at.Path, '/')
	folder, id := at.Path[:slash+1], at.Path[slash+1:]
	if id == "" || strings.Trim(at.User.Username(), "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != "" {
		return project{}, errDSN
	}
	to := url.URL{Scheme: at.Scheme, Host: at.Host, Path: folder + "api/" + id + "/envelope/"}
	return project{to.String(), at.User.Username()}, nil
}

// Check says what is wrong with a DSN, without repeating it.
func Check(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

func (p project) header() http.Header {
	return http.Header{
		"Content-Type":  {"application/x-sentry-envelope"},
		"X-Sentry-Auth": {"Sentry sentry_version=7, sentry_client=devops-dashboard/1.0, sentry_key=" + p.key},
	}
}

// limited is for how long Sentry takes no errors, as it has said with an answer:
// https://develop.sentry.dev/sdk/expected-features/rate-limiting.
func limited(answered http.Header) time.Duration {
	longest := 0.0
	for limit := range strings.SplitSeq(answered.Get("X-Sentry-Rate-Limits"), ",") {
		parts := strings.Split(strings.TrimSpace(limit), ":")
		seconds, err := strconv.ParseFloat(parts[0], 64)
		if err != nil || math.IsNaN(seconds) {
			continue
		}
		if len(parts) == 1 || parts[1] == "" || slices.Contains(strings.Split(parts[1], ";"), "error") {
			longest = max(longest, seconds)
		}
	}
	return time.Duration(math.Ceil(min(longest, time.Hour.Seconds()))) * time.Second
}
