package web

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"net/http"
	"sync"
)

// openapi is the whole API in one document, printed by the test of package
// functions.
//
//go:embed openapi.json
var openapi []byte

// document is compressed at the first request for it: the test that prints it
// is not the one that bundles, and a stale pair would be worse than 2 ms.
var document = sync.OnceValue(func() file {
	var compressed bytes.Buffer
	zip := gzip.NewWriter(&compressed)
	_, _ = zip.Write(openapi) // a bytes.Buffer takes all
	_ = zip.Close()
	return file{media: "application/json", cache: revalidated, tag: tagOf(openapi), plain: openapi, compressed: compressed.Bytes()}
})

func serveDocument(w http.ResponseWriter, r *http.Request) { document().serve(w, r) }
