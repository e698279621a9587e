package history

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const (
	aSHA    = "0123456789abcdef0123456789abcdef01234567"
	aSHA256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// record joins the fields of a commit as git does.
func record(fields ...string) string { return strings.Join(fields, "\x00") + "\x00" }

// FuzzParseLog must neither panic nor let anything through that PostgreSQL or
// the graph cannot take.
func FuzzParseLog(f *testing.F) {
	f.Add([]byte(record(aSHA, "", "1600000000", "1600000000", "Ada", "ada@x", "Subject")))
	f.Add([]byte(record(aSHA256, aSHA256+" "+aSHA256, "-1", "", "", "", "")))
	f.Add([]byte(record(aSHA, aSHA, "99999999999999999999", "x", "\xff", "\xc3", strings.Repeat("é", 600))))
	f.Add([]byte(record(aSHA, aSHA256, "1", "1", "", "", "")))
	f.Add([]byte(record("", "", "", "", "", "", "")))
	f.Add([]byte(record(aSHA[:39]+"x", "", "", "", "", "", "")))
	f.Add([]byte(aSHA + "\x00"))
	f.Add([]byte(aSHA))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		for c, err := range parseLog(bytes.NewReader(text)) {
			if err != nil {
				return
			}
			if len(c.SHA) != 20 && len(c.SHA) != 32 {
				t.Fatalf("a sha of %d bytes", len(c.SHA))
			}
			for _, p := range c.Parents {
				if len(p) != len(c.SHA) {
					t.Fatalf("a parent of %d bytes", len(p))
				}
			}
			for _, s := range []string{c.Subject, c.Author.Name, c.Author.Email} {
				if !utf8.ValidString(s) || strings.Contains(s, "\x00") || len(s) > 3*maxSubject {
					t.Fatalf("text %q", s)
				}
			}
			if c.Authored.Before(earliest) || c.Authored.After(latest) || c.Committed.Before(earliest) || c.Committed.After(latest) {
				t.Fatalf("times %s %s", c.Authored, c.Committed)
			}
		}
	})
}

// FuzzParseRefs must not panic.
func FuzzParseRefs(f *testing.F) {
	f.Add([]byte("refs/heads/main\x00" + aSHA + "\x00commit\x00\x00\x001600000000\n"))
	f.Add([]byte("refs/tags/v1.0\x00" + aSHA + "\x00tag\x00" + aSHA + "\x00commit\x00\n"))
	f.Add([]byte("refs/tags/v1.0\x00" + aSHA + "\x00tag\x00" + aSHA + "\x00tag\x00\n"))
	f.Add([]byte("\n\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseRefs(text)
		if err != nil {
			return
		}
		for _, one := range list {
			if strings.ContainsAny(one.name+one.object+one.kind, "\x00\n") {
				t.Fatalf("%+v", one)
			}
		}
	})
}

func TestParseLogErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	whole := record(aSHA, "", "1", "1", "n", "e", "s")
	for name, test := range map[string]struct {
		in   io.Reader
		says string
	}{
		"not a sha":          {strings.NewReader(record("main", "", "", "", "", "", "")), `"main"`},
		"not hex":            {strings.NewReader(record(strings.Repeat("z", 40), "", "", "", "", "", "")), "sha"},
		"half a parent":      {strings.NewReader(record(aSHA, aSHA[:12], "", "", "", "", "")), "parents"},
		"parents of a flood": {strings.NewReader(record(aSHA, strings.Repeat(aSHA+" ", maxParents/41+1), "", "", "", "", "")), "parents"},
		"a broken pipe":      {io.MultiReader(strings.NewReader(whole), iotest.ErrReader(broken)), "broken pipe"},
	} {
		var last error
		for _, err := range parseLog(test.in) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), test.says) {
			t.Errorf("%s: %v", name, last)
		}
	}
	// Cut anywhere within a commit, and broken there.
	for n := 1; n < len(whole); n++ {
		for _, in := range []io.Reader{strings.NewReader(whole[:n]), io.MultiReader(strings.NewReader(whole[:n]), iotest.ErrReader(broken))} {
			var last error
			for _, err := range parseLog(in) {
				last = err
			}
			if !errors.Is(last, io.ErrUnexpectedEOF) && !errors.Is(last, broken) {
				t.Errorf("cut at %d: %v", n, last)
			}
		}
	}
}

// TestParseLogGivesWhatWasPrinted draws commits, and reads that drip.
func TestParseLogGivesWhatWasPrinted(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.RuneFrom([]rune("aé€😀 <>\n\t\"\x01")), 0, 120, maxName)
	shas := rapid.Custom(func(t *rapid.T) string {
		return hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "sha"))
	})
	rapid.Check(t, func(t *rapid.T) {
		var printed, want []string
		for range rapid.IntRange(0, 5).Draw(t, "commits") {
			parents := rapid.SliceOfN(shas, 0, 4).Draw(t, "parents")
			fields := []string{
				shas.Draw(t, "sha"), strings.Join(parents, " "),
				fmt.Sprint(rapid.Int64Range(earliest.Unix(), latest.Unix()).Draw(t, "authored")),
				fmt.Sprint(rapid.Int64Range(earliest.Unix(), latest.Unix()).Draw(t, "committed")),
				text.Draw(t, "name"), text.Draw(t, "email"), text.Draw(t, "subject"),
			}
			printed = append(printed, record(fields...))
			want = append(want, strings.Join(fields, "|"))
		}
		var got []string
		for c, err := range parseLog(iotest.HalfReader(strings.NewReader(strings.Join(printed, "")))) {
			if err != nil {
				t.Fatal(err)
			}
			var parents []string
			for _, p := range c.Parents {
				parents = append(parents, hex.EncodeToString(p))
			}
			got = append(got, strings.Join([]string{
				hex.EncodeToString(c.SHA), strings.Join(parents, " "), fmt.Sprint(c.Authored.Unix()), fmt.Sprint(c.Committed.Unix()),
				c.Author.Name, c.Author.Email, c.Subject,
			}, "|"))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func TestRefsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	if _, err := parseRefs([]byte("one\x00two\n")); err == nil {
		t.Error("a line of two fields was read")
	}
	r := &Repository{}
	for _, object := range []string{"", "abc", strings.Repeat("z", 40)} {
		if _, err := r.gather([]ref{{name: "refs/heads/main", object: object, kind: "commit"}}, ""); err == nil {
			t.Errorf("%q was read as a sha", object)
		}
		if _, err := r.gather(nil, object); err == nil && object != "" {
			t.Errorf("%q was read as HEAD", object)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var kept tail
	for range 1000 {
		fmt.Fprint(&kept, "warning: something\n")
	}
	fmt.Fprint(&kept, "fatal: the end\n")
	if s := kept.String(); len(s) > tailBytes || !strings.HasSuffix(s, "warning: something\nfatal: the end") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

func TestEnvironmentKeepsWhatSaysWhomToTrust(t *testing.T) {
	t.Parallel()
	got := environment([]string{
		"HOME=/root", "GIT_DIR=/elsewhere", "GIT_WORK_TREE=/", "GIT_TRACE=1", "GIT_CONFIG_PARAMETERS='a'", "GIT_CONFIG=/file",
		"GIT_CONFIG_GLOBAL=/file", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_EXEC_PATH=/git", "GITHUB_TOKEN=x",
	})
	want := []string{"HOME=/root", "GIT_CONFIG_GLOBAL=/file", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_EXEC_PATH=/git", "GITHUB_TOKEN=x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
