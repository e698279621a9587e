package diagram_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/infra/diagram"
)

func TestThePictureShowsWhatTheManifestSays(t *testing.T) {
	t.Parallel()
	text, err := diagram.Mermaid([]byte(`{"functions":[
		{"name":"a","doc":"says \"a\"; <b> & #1.","needs":["postgres","ratelimit"],"tables":[{"table":"t"}],"settings":[{"secret":true,"required":true}],
		 "routes":[{"path":"/api/a","access":"public"},{"path":"/api/run","access":"scheduler"}],"schedules":[{"name":"run","cron":"*/2 * * * *"}]},
		{"name":"page","doc":"The page.","needs":[],"settings":[{"secret":true},{"required":true}],"routes":[{"path":"/{$}","access":"public"}]},
		{"name":"silent","doc":"Is called by nobody.","needs":["redis"],"routes":[]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `flowchart LR
  browser(["browser"]) -->|HTTPS| f_page
  github(["GitHub Actions"]) -.->|"deploys each as deploy-FUNCTION"| run
  subgraph run["Cloud Run"]
    f_a["a<br/>says #quot;a#quot;#59; #lt;b#gt; & #35;1"]
    f_page["page<br/>The page"]
    f_silent["silent<br/>Is called by nobody"]
    migrate["migrate<br/>a job: schema and grants"]
  end
  f_page -->|"1 route, ID token"| f_a
  scheduler(["Cloud Scheduler"]) -->|"run: #42;/2 #42; #42; #42; #42;"| f_a
  f_a -->|"1 table"| postgres[("PostgreSQL")]
  migrate -->|owner| postgres
  f_a --> redis[("Redis")]
  f_silent --> redis[("Redis")]
  f_a -.-> secrets[("Secret Manager")]
  migrate -.-> secrets
`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

func TestEveryFunctionIsInThePicture(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("../functions.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := diagram.Mermaid(manifest)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^      "name": "([a-z]+)",\n      "doc"`).FindAllSubmatch(manifest, -1)
	if len(names) < 6 {
		t.Fatalf("%d functions", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(text), "--> f_"+string(name[1])) && !strings.Contains(string(text), "| f_"+string(name[1])) {
			t.Errorf("nothing leads to %s", name[1])
		}
	}
}

func TestWhatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	for manifest, want := range map[string]string{"{": "read the manifest", `{"functions":[{"name":"a"}]}`: "none stands in front"} {
		if _, err := diagram.Mermaid([]byte(manifest)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", manifest, err)
		}
	}
}
