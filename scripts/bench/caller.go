package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// A caller is somebody who has signed in, with one connection to the API. Of its methods
// only one may run at a time.
type caller struct {
	id     string // GitHub's, as the API's answers have it
	header http.Header
	host   string
	socket net.Conn
	r      *bufio.Reader
	stop   func() bool
	body   bytes.Buffer // of the last answer
}

// call signs the person with that number in and connects. The end of ctx breaks the
// connection.
func call(ctx context.Context, addr string, number int) (*caller, error) {
	cookies, err := signIn(ctx, addr, number)
	if err != nil {
		return nil, fmt.Errorf("%s signs in: %w", login(number), err)
	}
	c, err := connect(ctx, addr, number, cookies)
	if err != nil {
		return nil, err
	}
	nodes, err := c.list()
	if err == nil && (len(nodes) > 0 || c.id == "anonymous") {
		err = fmt.Errorf("GET /exclude of %s, who has just signed in: %s", login(number), c.body.Bytes())
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// connect connects as the person with that number, who has these cookies.
func connect(ctx context.Context, addr string, number int, cookies string) (*caller, error) {
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &caller{
		host: addr, socket: socket, r: bufio.NewReader(socket),
		stop: context.AfterFunc(ctx, func() { socket.Close() }),
		// What a browser sends for a page of another origin.
		header: http.Header{
			"Accept": {"*/*"}, "Origin": {pageOrigin}, "Sec-Fetch-Site": {"same-site"}, "Sec-Fetch-Mode": {"cors"},
			"Cookie": {cookies}, "X-Forwarded-For": {address(number)},
		},
	}, nil
}

func (c *caller) close() {
	c.stop()
	c.socket.Close()
}

// get sends a request and reads the answer into c.body. One that is not 200, or after
// which the API hangs up, is an error.
func (c *caller) get(target string) error {
	var request bytes.Buffer
	fmt.Fprintf(&request, "GET %s HTTP/1.1\r\nHost: %s\r\n", target, c.host)
	_ = c.header.Write(&request) // a buffer takes everything
	request.WriteString("\r\n")
	if _, err := c.socket.Write(request.Bytes()); err != nil {
		return fmt.Errorf("GET %s: %w", target, err)
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("GET %s: %w", target, err)
	}
	defer answer.Body.Close()
	c.body.Reset()
	if _, err := c.body.ReadFrom(answer.Body); err != nil {
		return fmt.Errorf("GET %s: %w", target, err)
	}
	switch {
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s answers %s: %s", target, answer.Status, c.body.Bytes())
	case answer.Close:
		return fmt.Errorf("GET %s: the API closes the connection", target)
	}
	return nil
}

// list asks for the excluded nodes, and notes whose they are.
func (c *caller) list() ([]string, error) {
	if err := c.get("/exclude"); err != nil {
		return nil, err
	}
	var list struct {
		User  string
		Nodes []string
	}
	if err := json.Unmarshal(c.body.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("GET /exclude answers %s: %w", c.body.Bytes(), err)
	}
	c.id = list.User
	return list.Nodes, nil
}

// signIn goes through the sign-in as the person with that number, and returns the
// cookies as they are sent.
func signIn(ctx context.Context, addr string, number int) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Jar: jar, Transport: transport}
	// visit follows redirects and returns where they end.
	visit := func(method, target, body string) (*url.URL, error) {
		request, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Accept", "text/html")
		request.Header.Set("X-Forwarded-For", address(number))
		if method == http.MethodPost {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		response, err := browser.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s: %s", response.Request.URL.Path, response.Status, text)
		}
		return response.Request.URL, err
	}
	page, err := visit(http.MethodGet, "http://"+addr+"/", "")
	if err != nil {
		return "", err
	}
	// The page's form sends on what the page was asked with; its own address will do.
	form := url.Values{"account": {login(number)}, "decision": {"authorize"}}
	account, err := visit(http.MethodPost, page.String(), form.Encode())
	if err != nil {
		return "", err
	}
	if account.Host != addr {
		return "", fmt.Errorf("the sign-in ends at %s", account.Redacted())
	}
	var pairs []string
	for _, cookie := range jar.Cookies(account) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	if len(pairs) == 0 {
		return "", errors.New("the API has set no cookie")
	}
	return strings.Join(pairs, "; "), nil
}
