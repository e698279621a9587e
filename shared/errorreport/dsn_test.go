package errorreport

import (
	"strings"
	"testing"
)

func TestDSN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]project{
		"https://abc@o1.ingest.sentry.io/42":        {"https://o1.ingest.sentry.io/api/42/envelope/", "abc"},
		"https://abc:old@sentry.example.com:9000/7": {"https://sentry.example.com:9000/api/7/envelope/", "abc"},
		"http://a@localhost/deep/down/7":            {"http://localhost/deep/down/api/7/envelope/", "a"},
	} {
		if got, err := parseDSN(text); got != want || err != nil || Check(text) != nil {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "hunter2", "https://hunter2", "https://hunter2@/1", "https://o1.sentry.io/1", "https://hunter2@o1.sentry.io", "https://hunter2@o1.sentry.io/",
		"ftp://hunter2@o1.sentry.io/1", "https://hunter2,x=y@o1.sentry.io/1", "https://hunter2@o1.sentry.io/1?x=y", "https://hunter2@o1 .sentry.io/1", "sm://hunter2",
	} {
		if err := Check(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTextsAreClipped(t *testing.T) {
	t.Parallel()
	got := scrub(strings.Repeat("ä ", mostRead), nil)
	if len(got) > mostTold+len("…") || !strings.HasSuffix(got, "ä …") && !strings.HasSuffix(got, "ä…") && !strings.HasSuffix(got, " …") {
		t.Errorf("%d bytes, ending %q", len(got), got[len(got)-8:])
	}
	if got := scrub("the cache is full at \xff level 3, shard 12: x of yes", []string{"yes", "x"}); got != "the cache is full at  level 3, shard 12: x of yes" {
		t.Errorf("plain words become %q", got)
	}
}
