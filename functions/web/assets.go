package web

import (
	"embed"
	"net/http"
	"path"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// assets is what package bundle made of the folder page.
//
//go:embed assets
var assets embed.FS

// media are the types of the files there are; others are not served.
var media = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// open returns the asset of that name, without a tag: how to name its content is
// known to who serves it.
func open(name string) (f file, ok bool) {
	mediaType, known := media[path.Ext(name)]
	plain, err := assets.ReadFile("assets/" + name)
	compressed, errCompressed := assets.ReadFile("assets/" + name + ".gz")
	if !known || err != nil || errCompressed != nil {
		return file{}, false
	}
	return file{media: mediaType, cache: revalidated, plain: plain, compressed: compressed}, true
}

// page serves a file that is found by its name, so that its content may change.
func page(name string) http.Handler {
	return secured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := open(name)
		if !ok {
			httpapi.WriteProblem(w, r, fault.New(fault.Internal, "internal", name+" is not part of this build."))
			return
		}
		f.tag = tagOf(f.plain)
		f.serve(w, r)
	}))
}

// serveAsset serves what the pages load. Scripts and styles hold their hash in
// their name; the pages themselves have addresses of their own.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	f, ok := open(name)
	switch path.Ext(name) {
	case ".js", ".css":
		f.cache, f.tag = immutable, name
	case ".txt":
		f.tag = tagOf(f.plain)
	default:
		ok = false
	}
	if !ok {
		httpapi.WriteProblem(w, r, fault.New(fault.NotFound, "no_such_asset", "There is no such file. It may belong to an older version of the page: reload the page."))
		return
	}
	f.serve(w, r)
}
