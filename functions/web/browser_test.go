package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for something to appear in a page.
const patience = time.Minute

// chromium is started by the first test that needs it and serves all.
var chromium = struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}{stop: func() {}}

func TestMain(m *testing.M) {
	code := m.Run()
	chromium.stop()
	os.Exit(code)
}

func startChromium(path string) {
	home, err := os.MkdirTemp("", "chromium")
	if err != nil {
		chromium.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(home), chromedp.DisableGPU,
		chromedp.NoSandbox, // Chromium's own needs what containers and root lack
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(allocator)
	chromium.ctx = ctx
	chromium.stop = func() {
		stopBrowser()
		stopAllocator()
		_ = os.RemoveAll(home)
	}
	chromium.err = chromedp.Do(ctx)
}

// browser is a person at a computer of their own: cookies and storage are shared
// between its tabs and with nobody else's.
type browser struct{ tab }

// tab is one page that is open.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       *sync.Mutex
	messages *[]string // errors and warnings on the console, also of the content security policy
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := findChromium()
	if err != nil {
		t.Skip("no Chromium; run: apt-get install chromium")
	}
	chromium.once.Do(func() { startChromium(path) })
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return &browser{open(t, ctx)}
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// newTab opens another tab of the same browser.
func (b *browser) newTab() tab {
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	return open(b.t, ctx)
}

func open(t *testing.T, ctx context.Context) tab {
	t.Helper()
	p := tab{t: t, ctx: ctx, mu: new(sync.Mutex), messages: new([]string)}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	console := chromedp.Console(ctx)
	go func() {
		for message, err := range console {
			if err != nil {
				return
			}
			if message.Type != "log" && message.Type != "info" && message.Type != "debug" {
				p.mu.Lock()
				*p.messages = append(*p.messages, fmt.Sprintf("%s: %s %s", message.Type, message.Text, message.URL))
				p.mu.Unlock()
			}
		}
	}()
	return p
}

func (p tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v\nthe page shows: %s\nconsole: %s", err, p.shown(), p.console())
	}
}

// wait waits until a JavaScript expression, or what it promises, is true in the
// page. It goes on through a change of page, where for a moment none can answer.
func (p tab) wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	look := chromedp.Evaluate[bool]("Promise.resolve("+expression+").then(Boolean)", chromedp.EvalAwaitPromise)
	for {
		if found, err := chromedp.Run(ctx, look); err == nil && found {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("waited in vain for %s\nthe page shows: %s\nconsole: %s", expression, p.shown(), p.console())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// waitText waits until a text stands in the element of the selector.
func (p tab) waitText(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, text))
}

// press clicks the first button or link of a name that is shown, in the dialog where
// one is open.
func (p tab) press(name string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`((found) => found && (found.click(), true))([...(document.querySelector("dialog[open]") ?? document).querySelectorAll("button, a")]
		.find((e) => e.textContent.trim() === %[1]q || e.getAttribute("aria-label") === %[1]q))`, name))
}

// submit presses the main button, wherever it has moved to.
func (p tab) submit() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".primary").click()`))
}

// fill has a field hold a text, or a selection.
func (p tab) fill(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`((e) => e && (e.value = %s, e.dispatchEvent(new Event("input", { bubbles: true })), e.dispatchEvent(new Event("change", { bubbles: true })), true))(document.querySelector(%q))`,
		quoted(text), selector))
}

func (p tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%q)?.textContent ?? '(nothing)'", selector))
}

func (p tab) shown() string {
	text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}

func (p tab) console() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(*p.messages, "\n")
}

// expectQuiet fails on everything that the console complained of, but for
// messages that hold one of the texts.
func (p tab) expectQuiet(but ...string) {
	p.t.Helper()
	for message := range strings.SplitSeq(p.console(), "\n") {
		known := message == ""
		for _, text := range but {
			known = known || strings.Contains(message, text)
		}
		if !known {
			p.t.Errorf("on the console: %s", message)
		}
	}
}

func eval[T any](p tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// view makes the page as wide as a screen, light or dark.
func (p tab) view(width, height int64, scheme string) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	}); err != nil {
		p.t.Fatal(err)
	}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	}); err != nil {
		p.t.Fatal(err)
	}
}

// screenshot writes the whole page to $SCREENSHOTS/name.png, where that is set.
func (p tab) screenshot(name string) {
	p.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(folder+"/"+name+".png", png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// quoted writes a value as JavaScript.
func quoted(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}
