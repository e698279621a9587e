// Package githubtest gives tests a GitHub of their own: the sign-in of an OAuth app,
// with PKCE, and the two questions that are asked with what it gives. It is as strict
// as GitHub, and lies where it is told to.
package githubtest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// The OAuth app that is registered.
const (
	Client = "Iv1.0123456789abcdef"
	Secret = "0123456789abcdef0123456789abcdef01234567"
)

// Person is somebody with an account.
type Person struct {
	ID     int64
	Login  string
	Name   string
	Emails []Email
}

// Email is an address of somebody's.
type Email struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// grant is a code and what it was given for.
type grant struct {
	client, redirect, challenge string
	person                      Person
}

// GitHub is a server of its own.
type GitHub struct {
	*httptest.Server
	// TokenType is what it calls its tokens.
	TokenType string

	t        testing.TB
	callback string

	mu     sync.Mutex
	person *Person // who sits at the browsers
	codes  map[string]grant
	tokens map[string]Person
	lies   map[string]http.HandlerFunc
	asked  map[string]int
}

// New returns a GitHub with an app that has its callback at an address.
func New(t testing.TB, callback string) *GitHub {
	t.Helper()
	g := &GitHub{TokenType: "bearer", t: t, callback: callback, codes: map[string]grant{}, tokens: map[string]Person{}, lies: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /login/oauth/authorize":     g.authorize,
		"POST /login/oauth/access_token": g.exchange,
		"GET /api/v3/user":               g.user,
		"GET /api/v3/user/emails":        g.emails,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			lie := g.lies[r.URL.Path]
			g.asked[r.URL.Path]++
			g.mu.Unlock()
			if lie != nil {
				lie(w, r)
				return
			}
			handler(w, r)
		})
	}
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// Lie has a path answered so; nil ends it.
func (g *GitHub) Lie(path string, handler http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lies[path] = handler
}

// Asked returns how often a path was asked for.
func (g *GitHub) Asked(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[path]
}

// Authorize is what the page at an address does when somebody lets the app know who
// they are: it returns where their browser is sent.
func (g *GitHub) Authorize(at string, person Person) *url.URL {
	g.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		g.t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": Client, "redirect_uri": g.callback, "code_challenge_method": "S256", "scope": "user:email"} {
		if q.Get(name) != want {
			g.t.Fatalf("%s is %q in %s", name, q.Get(name), at)
		}
	}
	if u.Path != "/login/oauth/authorize" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 32 {
		g.t.Fatalf("GitHub is asked at %s", at)
	}
	back, _ := url.Parse(g.callback)
	back.RawQuery = url.Values{"state": {q.Get("state")}, "code": {g.Code(Client, q.Get("code_challenge"), person)}}.Encode()
	return back
}

// SignIn has a person sit at the browsers that come, who lets the app know who they
// are; nil for one who does not.
func (g *GitHub) SignIn(person *Person) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.person = person
}

// authorize is the page for browsers, whose question was answered before.
func (g *GitHub) authorize(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	person := g.person
	g.mu.Unlock()
	if person != nil {
		http.Redirect(w, r, g.Authorize(r.URL.String(), *person).String(), http.StatusFound)
		return
	}
	back := url.Values{"state": {r.URL.Query().Get("state")}, "error": {"access_denied"}}
	http.Redirect(w, r, g.callback+"?"+back.Encode(), http.StatusFound)
}

// Code returns a code for a client.
func (g *GitHub) Code(client, challenge string, person Person) string {
	code := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.codes[code] = grant{client, g.callback, challenge, person}
	return code
}

func (g *GitHub) exchange(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	refuse := func(code string) {
		answer(w, url.Values{"error": {code}, "error_description": {"It is refused."}})
	}
	f := r.PostForm
	if f.Get("client_id") != Client || f.Get("client_secret") != Secret {
		refuse("incorrect_client_credentials")
		return
	}
	g.mu.Lock()
	given, known := g.codes[f.Get("code")]
	delete(g.codes, f.Get("code")) // it is good once
	g.mu.Unlock()
	sum := sha256.Sum256([]byte(f.Get("code_verifier")))
	fits := subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(given.challenge)) == 1
	switch {
	case !known || given.client != Client || !fits:
		refuse("bad_verification_code")
	case f.Get("redirect_uri") != given.redirect:
		refuse("redirect_uri_mismatch")
	default:
		token := "gho_" + rand.Text()
		g.mu.Lock()
		g.tokens[token] = given.person
		g.mu.Unlock()
		answer(w, url.Values{"access_token": {token}, "scope": {"user:email"}, "token_type": {g.TokenType}})
	}
}

// answer is a form, as GitHub's is by default.
func answer(w http.ResponseWriter, values url.Values) {
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	fmt.Fprint(w, values.Encode())
}

// caller returns whose token was sent.
func (g *GitHub) caller(w http.ResponseWriter, r *http.Request) (Person, bool) {
	g.mu.Lock()
	person, known := g.tokens[r.Header.Get("Authorization")[min(len("Bearer "), len(r.Header.Get("Authorization"))):]]
	g.mu.Unlock()
	if !known || r.Header.Get("User-Agent") == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return Person{}, false
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	return person, true
}

func (g *GitHub) user(w http.ResponseWriter, r *http.Request) {
	if person, ok := g.caller(w, r); ok {
		// The address that somebody shows to others is one that nobody has verified.
		_ = json.NewEncoder(w).Encode(map[string]any{"id": person.ID, "login": person.Login, "name": person.Name, "email": "shown@example.com", "type": "User"})
	}
}

func (g *GitHub) emails(w http.ResponseWriter, r *http.Request) {
	if person, ok := g.caller(w, r); ok {
		_ = json.NewEncoder(w).Encode(person.Emails)
	}
}
