package server

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindTakesTheNewestThatRuns(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program := func(dir, says string, withInitdb bool) string {
		t.Helper()
		dir = filepath.Join(root, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "postgres"), []byte(fmt.Sprintf("#!/bin/sh\n%s\n", says)), 0o755); err != nil {
			t.Fatal(err)
		}
		if withInitdb {
			if err := os.WriteFile(filepath.Join(dir, "initdb"), nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	says := func(version string) string { return "echo 'postgres (PostgreSQL) " + version + "'" }
	dirs := []string{
		program("old", says("13.22"), true),
		program("a", says("15.9"), true),
		program("b", says("15.18 (Debian 15.18-0+deb12u1)"), true),
		program("c", says("18beta2"), true),
		program("client", says("19.1"), false),
		program("broken", "exit 1", true),
		program("other", "echo cockroach 19.1", true),
		filepath.Join(root, "missing"),
	}
	link := filepath.Join(root, "link")
	if err := os.Mkdir(link, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "b", "postgres"), filepath.Join(link, "postgres")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range find(t.Context(), account{}, append(dirs, link)) {
		got = append(got, fmt.Sprintf("%s %s %d", filepath.Base(b.dir), b.version, b.major))
	}
	if diff := cmp.Diff([]string{"c 18 18", "b 15.18 15", "a 15.9 15"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, said := range []string{"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "postgres (PostgreSQL) 18beta2", "postgres (PostgreSQL) 99999.1", "", "(PostgreSQL) ."} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		version, major, ok := parseVersion(said)
		if ok && compareVersions(version, fmt.Sprint(major)) < 0 {
			t.Errorf("%q is before its major %d", version, major)
		}
		if ok && compareVersions(version, version) != 0 {
			t.Errorf("%q is not itself", version)
		}
	})
}
