package functions_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// budget is what a function may cost.
type budget struct {
	starts   float64 // times the start of an empty function
	bytes    int64   // of its stripped binary
	resident int64   // bytes of memory when idle
}

func budgetOf(name string) budget {
	switch name {
	case "metrics", "rollup":
		return budget{4, 50e6, 48e6}
	}
	return budget{3, 40e6, 40e6}
}

// hello is the least that the functions framework serves.
const hello = `package main

import (
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
)

func main() {
	functions.HTTP("Hello", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })
	funcframework.Start(os.Getenv("PORT"))
}
`

var inits = regexp.MustCompile(`(?m)^init \S+ @[\d.]+ ms, ([\d.]+) ms clock`)

// initialised is how long the packages took before main, by what the runtime says
// with GODEBUG=inittrace=1.
func initialised(b *testing.B, says string) (total time.Duration) {
	b.Helper()
	for _, found := range inits.FindAllStringSubmatch(says, -1) {
		took, err := time.ParseDuration(found[1] + "ms")
		if err != nil {
			b.Fatal(err)
		}
		total += took
	}
	return total
}

// BenchmarkStart measures each function from its start to its first answer 200,
// against an empty function on the same framework: the least of 20 starts each,
// in turns, so that a busy machine slows all of them alike; how long packages take
// before main; and that nothing was dialled by then. Where that is over
// the budget, it measures on before it says so: the least only gets truer.
//
//	go test ./functions -run '^$' -bench Start -benchtime 1x
func BenchmarkStart(b *testing.B) {
	const starts, patience = 20, 120
	source := filepath.Join(b.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte(hello), 0o644); err != nil {
		b.Fatal(err)
	}
	type candidate struct {
		name, binary, path string
		env                []string
		least              time.Duration
		resident           int64
		init               time.Duration // before main, the least of its starts
	}
	all := []*candidate{{name: "hello", binary: build(b, ".", source), path: "/", env: []string{"FUNCTION_TARGET=Hello"}}}
	for _, fn := range functions.All {
		all = append(all, &candidate{name: fn.Name, binary: build(b, ".", "./"+fn.Name+"/cmd"), path: function.LivePath, env: settingsOf(fn)})
	}
	over := func(c *candidate) bool { return float64(c.least) > budgetOf(c.name).starts*float64(all[0].least) }
	for i := 0; i < starts || i < patience && slices.ContainsFunc(all, over); i++ {
		for _, c := range all {
			p := launch(b, c.binary, c.path, append(slices.Clip(c.env), "GODEBUG=inittrace=1")...)
			c.resident = max(c.resident, p.resident(b))
			if open := p.dialled(b); open > 0 {
				b.Errorf("%s has dialled %d connections before a request that needs one", c.name, open)
			}
			p.end()
			if init := initialised(b, p.says.String()); c.init == 0 || init < c.init {
				c.init = init
			}
			if c.least == 0 || p.took < c.least {
				c.least = p.took
			}
		}
	}
	for _, c := range all {
		b.Run(c.name, func(b *testing.B) {
			info, err := os.Stat(c.binary)
			if err != nil {
				b.Fatal(err)
			}
			ratio := float64(c.least) / float64(all[0].least)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(c.least.Microseconds())/1000, "start-ms")
			b.ReportMetric(ratio, "times-hello")
			b.ReportMetric(float64(c.init.Microseconds())/1000, "init-ms")
			b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
			b.ReportMetric(float64(c.resident)/1e6, "resident-MB")
			most := budgetOf(c.name)
			if over(c) || info.Size() > most.bytes || c.resident > most.resident {
				b.Errorf("%.2f starts, %d bytes, %d bytes resident: more than its budget of %.0f, %d, %d",
					ratio, info.Size(), c.resident, most.starts, most.bytes, most.resident)
			}
		})
	}
}
