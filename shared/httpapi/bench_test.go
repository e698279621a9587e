package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// BenchmarkChain is what the frame costs a request beside its handler: everything
// but the check of a token and Redis. It is to stay below 20 µs.
func BenchmarkChain(b *testing.B) {
	mux := http.NewServeMux()
	api := httpapi.New(mux, time.Second)
	huma.Register(api, operation("GET", "/hello"), func(context.Context, *struct{}) (*said, error) { return &said{"hello"}, nil })
	handler := httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{})
	r := httptest.NewRequest("GET", "/hello", nil)
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	if each := b.Elapsed() / time.Duration(b.N); each > 20*time.Microsecond {
		b.Errorf("a request takes %s", each)
	}
}
