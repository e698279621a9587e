// Package bundle turns the TypeScript of the pages into the files that web
// embeds and serves. It is linked by its test alone, which writes the files and
// says when they are stale; the deployed function only holds the outcome.
package bundle

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// scripts are the entry points, without their extension; each has a page of
// the same name.
var scripts = []string{"app", "docs"}

// Compressed is what is added to the name of a file's gzip form.
const Compressed = ".gz"

// Build bundles the pages in folder page and returns the files to serve by
// name: scripts and styles under names that hold their hash, pages that refer to
// them, the licences of what is bundled, and each of them in gzip form too.
func Build(page string) (map[string][]byte, error) {
	page, err := filepath.Abs(page)
	if err != nil {
		return nil, err
	}
	files, err := bundled(page)
	if err != nil {
		return nil, err
	}
	if err := addPages(files, page); err != nil {
		return nil, err
	}
	if err := addLicences(files, page); err != nil {
		return nil, err
	}
	for name, content := range files {
		files[name+Compressed] = compress(content)
	}
	return files, nil
}

// bundled runs esbuild and returns what it made.
func bundled(page string) (map[string][]byte, error) {
	options := api.BuildOptions{
		AbsWorkingDir:     page,
		Bundle:            true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		Charset:           api.CharsetUTF8,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone, // the licences are a file of their own
		Banner:            map[string]string{"js": "/* holds MIT-licensed packages: see /assets/licences.txt */"},
		Outdir:            filepath.Join(page, "out"), // nothing is written there
		EntryNames:        "[name]-[hash]",
		Tsconfig:          "tsconfig.json",
	}
	for _, name := range scripts {
		options.EntryPoints = append(options.EntryPoints, name+".tsx")
	}
	result := api.Build(options)
	if messages := slices.Concat(result.Errors, result.Warnings); len(messages) > 0 {
		return nil, errors.New(strings.Join(api.FormatMessages(messages, api.FormatMessagesOptions{}), ""))
	}
	files := map[string][]byte{}
	for _, file := range result.OutputFiles {
		files[filepath.Base(file.Path)] = file.Contents
	}
	return files, nil
}

var reference = regexp.MustCompile(`\{\{(\w+)\.(js|css)\}\}`)

// addPages adds each script's page, with {{name.js}} and {{name.css}} replaced
// by the address of the bundled file, and the icon.
func addPages(files map[string][]byte, page string) error {
	for _, name := range scripts {
		html, err := os.ReadFile(filepath.Join(page, name+".html"))
		if err != nil {
			return err
		}
		var missing error
		files[name+".html"] = reference.ReplaceAllFunc(html, func(ref []byte) []byte {
			part := reference.FindSubmatch(ref)
			for file := range files {
				if strings.HasPrefix(file, string(part[1])+"-") && path.Ext(file) == "."+string(part[2]) {
					return []byte("/assets/" + file)
				}
			}
			missing = fmt.Errorf("%s.html refers to %s, which the bundle does not hold", name, ref)
			return nil
		})
		if missing != nil {
			return missing
		}
	}
	icon, err := os.ReadFile(filepath.Join(page, "favicon.svg"))
	files["favicon.svg"] = icon
	return err
}

// addLicences adds one text with the licence of every vendored package.
func addLicences(files map[string][]byte, page string) error {
	licences, err := filepath.Glob(filepath.Join(page, "vendor", "*", "LICENSE"))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	text.WriteString("The pages hold these packages.\n")
	for _, file := range licences {
		licence, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "\n== %s ==\n\n%s\n", filepath.Base(filepath.Dir(file)), bytes.TrimSpace(licence))
	}
	files["licences.txt"] = text.Bytes()
	return nil
}

func compress(content []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a level that there is
	_, _ = w.Write(content)                                 // a bytes.Buffer takes all
	_ = w.Close()
	return out.Bytes()
}
