package metrics

import (
	"encoding/base64"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

func TestCursorsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		want := cursor{rapid.Int64().Draw(r, "key"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "id")}
		list := rapid.SliceOf(rapid.String()).Draw(r, "list")
		got, given, err := parseCursor(want.encode(list...), list...)
		if err != nil || !given {
			r.Fatal(given, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(cursor{})); diff != "" {
			r.Error(diff)
		}
	})
}

func TestCursorsAreOfOneQuestion(t *testing.T) {
	t.Parallel()
	whole := cursor{5, []byte("id")}.encode("changes", "a", "b")
	for _, list := range [][]string{{"changes", "a"}, {"changes", "ab"}, {"changes", "b", "a"}, {"deployments", "a", "b"}, nil} {
		if _, _, err := parseCursor(whole, list...); err == nil {
			t.Errorf("passes for one of %q", list)
		}
	}
	later := append([]byte{cursorVersion + 1}, tagOf(nil)...)
	if _, _, err := parseCursor(base64.RawURLEncoding.EncodeToString(append(later, make([]byte, 8)...))); err == nil {
		t.Error("another version passes")
	}
}

func FuzzParseCursor(f *testing.F) {
	list := []string{"deployments", "service"}
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	f.Add("")
	f.Add("!")
	f.Add(cursor{1, id[:]}.encode(list...))
	f.Add(cursor{math.MaxInt64, id[:]}.encode(list...))
	f.Add(cursor{math.MinInt64, nil}.encode(list...))
	f.Add(cursor{0, id[:15]}.encode(list...))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseDeploymentCursor(text, list)
		if err != nil {
			if got := fault.From(err); got.Kind != fault.Invalid || got.Fields[0].Location != "query.cursor" {
				t.Errorf("not a fault of the cursor: %v", err)
			}
			return
		}
		if _, err := c.finishedAt.MarshalJSON(); err != nil || c.finishedAt.Location() != time.UTC {
			t.Errorf("%v is no time to ask for: %v", c.finishedAt, err)
		}
		if again := (cursor{c.finishedAt.UnixMicro(), c.id[:]}).encode(list...); text != "" && again != text {
			t.Errorf("%q has another spelling: %q", text, again)
		}
	})
}
