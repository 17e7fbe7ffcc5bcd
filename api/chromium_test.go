package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A tab is one tab of a real browser, in a profile of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// chromium starts a browser. Without one the test is skipped, but fails in CI.
func chromium(t *testing.T) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("it drives another program")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no Chromium; scripts/setup test installs it")
		}
		t.Skip("there is no Chromium; scripts/setup test installs it")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoFirstRun, chromedp.DisableGPU,
		chromedp.NoSandbox, // it may run as root; it sees nothing but our own pages
		chromedp.IgnoreCertErrors, chromedp.WindowSize(1100, 900),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-dev-shm-usage", true),
	)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return &tab{t: t, ctx: ctx}
}

// do runs steps.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v; the page is\n%s", what, err, b.text())
	}
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do("open "+url, chromedp.Navigate(url))
}

// text is what a person can read on the page.
func (b *tab) text() string {
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return text
}

// sees waits until the page says it.
func (b *tab) sees(says string) {
	b.t.Helper()
	redistest.Eventually(b.t, 20*time.Second, func() error {
		if text := b.text(); !strings.Contains(text, says) {
			return fmt.Errorf("want %q on the page:\n%s", says, text)
		}
		return nil
	})
}

// button is the button or link that is called so, by what a screen reader says.
func button(name string) string {
	return fmt.Sprintf(`//*[self::button or self::a][normalize-space()=%q or @aria-label=%q]`, name, name)
}

func (b *tab) click(name string) {
	b.t.Helper()
	b.do("click "+name, chromedp.Click(button(name), chromedp.NodeVisible))
}

// script runs a script in the page, waits for its promise, and returns its value.
func script[T any](b *tab, source string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](source, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("script %.80s: %v", source, err)
	}
	return v
}

// theme makes the person prefer a light or a dark page.
func (b *tab) theme(name string) {
	b.t.Helper()
	b.do("prefer "+name, func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return v, err
	})
}

// resize makes the window as large as a screen, in CSS pixels.
func (b *tab) resize(width, height int64) {
	b.t.Helper()
	b.do("resize", chromedp.EmulateViewport(width, height))
}

// screenshot keeps a picture of the whole page, if SCREENSHOTS names a folder.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// axeVersion is the version of axe-core, which knows the rules of accessibility
// (WCAG), as an npm package.
const axeVersion = "4.14.1"

// accessible fails the test if axe-core finds something that people with a screen
// reader, a keyboard or weak eyes stumble over.
func (b *tab) accessible(what, axe string) {
	b.t.Helper()
	if axe == "" {
		return
	}
	script[json.RawMessage](b, axe+`;true`)
	found := script[[]struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}](b, `axe.run({runOnly:["wcag2a","wcag2aa","wcag21aa","wcag22aa","best-practice"]}).then(r => r.violations.map(v =>
		({id: v.id, help: v.help, nodes: v.nodes.map(n => ({html: n.html, failureSummary: n.failureSummary}))})))`)
	for _, v := range found {
		b.t.Errorf("%s: %s: %s: %+v", what, v.ID, v.Help, v.Nodes)
	}
}

// axeCore fetches axe-core, or returns nothing where npm is missing.
func axeCore(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Log("there is no npm: nothing checks the rules of accessibility")
		return ""
	}
	dir := t.TempDir()
	pack := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "axe-core@"+axeVersion)
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		t.Logf("npm does not give axe-core: nothing checks the rules of accessibility: %v %s", err, out)
		return ""
	}
	source, err := exec.CommandContext(t.Context(), "tar", "-xzOf", filepath.Join(dir, "axe-core-"+axeVersion+".tgz"), "package/axe.min.js").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}
