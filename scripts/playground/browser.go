package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

const (
	browserTimeout = 15 * time.Second // of one page, with its redirects
	maxPage        = 1 << 20
)

// browser is a person's: it follows redirects, keeps cookies, and submits the
// forms that it was sent.
type browser struct {
	client *http.Client
	home   string // the API's address
}

func newBrowser(home string) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{home: home, client: &http.Client{Jar: jar, Timeout: browserTimeout}}, nil
}

// page is what the browser arrived at.
type page struct {
	url    *url.URL
	status int
	header http.Header
	body   []byte
}

// is reports an error unless the page has that status.
func (p *page) is(status int) error {
	if p.status == status {
		return nil
	}
	return fmt.Errorf("%s%s answers %d instead of %d: %s", p.url.Host, p.url.Path, p.status, status, excerpt(p.body))
}

// excerpt is the beginning of a body, in one line.
func excerpt(body []byte) string {
	const most = 300
	line := strings.Join(strings.Fields(string(body)), " ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// do sends a request and follows where it leads. Target is a path of the API
// or a whole address; headers are pairs of a name and a value.
func (b *browser) do(ctx context.Context, method, target string, body io.Reader, headers ...string) (*page, error) {
	if strings.HasPrefix(target, "/") {
		target = b.home + target
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", response.Request.URL.Path, err)
	}
	return &page{url: response.Request.URL, status: response.StatusCode, header: response.Header, body: text}, nil
}

// open looks at a page, as somebody who types its address.
func (b *browser) open(ctx context.Context, target string) (*page, error) {
	return b.do(ctx, http.MethodGet, target, nil, "Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Site", "none")
}

// submit presses the button of a form.
func (b *browser) submit(ctx context.Context, f *form) (*page, error) {
	return b.do(ctx, f.method, f.action, strings.NewReader(f.values.Encode()),
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html,*/*;q=0.8")
}

// signIn clicks through the sign-in as the account with that login, and ends
// at the account's page.
func (b *browser) signIn(ctx context.Context, login string) error {
	p, err := b.open(ctx, "/")
	if err != nil {
		return err
	}
	if err := p.is(http.StatusOK); err != nil {
		return err
	}
	f, err := readForm(p)
	if err != nil {
		return err
	}
	if err := errors.Join(f.choose("account", login), f.choose("decision", "authorize")); err != nil {
		return err
	}
	if p, err = b.submit(ctx, f); err != nil {
		return err
	}
	if err := p.is(http.StatusOK); err != nil {
		return err
	}
	if got := p.url.Scheme + "://" + p.url.Host + p.url.Path; got != b.home+"/account" {
		return fmt.Errorf("the sign-in ended at %s instead of %s/account", got, b.home)
	}
	if !bytes.Contains(p.body, []byte(login)) {
		return fmt.Errorf("the account's page does not name %s: %s", login, excerpt(p.body))
	}
	return nil
}

// call asks the API as a program does, and reads the answer into v. Anything
// but 200 is an error.
func (b *browser) call(ctx context.Context, v any, method, target, body string, headers ...string) error {
	headers = append([]string{"Accept", "application/json"}, headers...)
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	p, err := b.do(ctx, method, target, strings.NewReader(body), headers...)
	if err != nil {
		return err
	}
	if err := p.is(http.StatusOK); err != nil {
		return err
	}
	if err := json.Unmarshal(p.body, v); err != nil {
		return fmt.Errorf("%s %s: read %s: %w", method, p.url.Path, excerpt(p.body), err)
	}
	return nil
}
