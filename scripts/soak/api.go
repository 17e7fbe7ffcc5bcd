package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// The registration of the API as an application of the stand-in for GitHub.
const (
	clientID     = "soak"
	clientSecret = "nobody-minds" // the stand-in lets anybody in
)

var (
	standInReady = regexp.MustCompile(`stand-in for GitHub at (http://\S+)`)
	apiReady     = regexp.MustCompile(`"msg":"serving"`)
)

// An api is the API's process, which may be killed and started again, with the stand-in
// for GitHub beside it.
type api struct {
	w       *world
	url     string
	port    *redistest.Port
	standIn *program
	env     []string

	mu      sync.Mutex // guards program: the sampler looks at it
	program *program
}

// startAPI starts both, for people with these logins, who all sponsor.
func (w *world) startAPI(ctx context.Context, logins []string) error {
	port, err := redistest.ReservePort()
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port.Number))
	a := &api{w: w, url: "http://" + addr, port: port}
	w.api = a
	var groups []string
	a.standIn, groups, err = w.startProgram(ctx, "githubtest", []string{
		"-listen", "127.0.0.1:0", "-org", org, "-client-id", clientID, "-client-secret", clientSecret,
		"-callback", a.url + "/oauth2/callback", "-sponsors", strings.Join(logins, ","),
	}, nil, standInReady)
	if err != nil {
		return err
	}
	a.env = []string{
		"GITHUB_CLIENT_ID=" + clientID, "GITHUB_SECRET=" + clientSecret, "GITHUB_URL=" + groups[1],
		"SPONSOR_ORG=" + org, "REDIS_ADDR=" + w.local.Addr(), "LISTEN_ADDR=" + addr, "PUBLIC_URL=" + a.url,
		// Nobody reaches the limits, in requests a minute.
		"LIMIT_PER_ADDRESS=1000000", "LIMIT_PER_PERSON=1000000",
	}
	return a.start(ctx)
}

func (a *api) start(ctx context.Context) error {
	p, _, err := a.w.startProgram(ctx, "sponsor-api", nil, a.env, apiReady)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.program = p
	return err
}

// kill ends the API by SIGKILL.
func (a *api) kill() error { return a.process().Kill() }

func (a *api) process() *program {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.program
}

func (a *api) close() error {
	var errs []error
	for _, p := range []*program{a.process(), a.standIn} {
		if p != nil {
			errs = append(errs, p.close())
		}
	}
	a.port.Release()
	return errors.Join(errs...)
}

// A program is one of ours that runs beside the servers.
type program struct {
	*redistest.Process
	name   string
	output string // the path of the file with all that it has written
}

// startProgram starts a program of ours and waits until it writes what ready matches,
// whose groups it returns. What an earlier run has written does not count.
func (w *world) startProgram(ctx context.Context, name string, args, env []string, ready *regexp.Regexp) (*program, []string, error) {
	path := filepath.Join(w.build, name)
	if _, err := os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("missing: %s; run make build first", path)
	}
	p := &program{name: name, output: filepath.Join(w.dir, name+".log")}
	before := len(p.log())
	var err error
	if p.Process, err = redistest.StartProcess(append([]string{path}, args...), env, w.dir, p.output); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var groups []string
	err = until(ctx, 10*time.Millisecond, func() error {
		if groups = ready.FindStringSubmatch(p.log()[before:]); groups == nil {
			if !p.Alive() {
				cancel()
			}
			return errors.New("it does not say that it is ready")
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("start %s: %w; its log is %s", name, err, p.output)
	}
	return p, groups, err
}

// log is all that the program has written.
func (p *program) log() string {
	text, _ := os.ReadFile(p.output) // one that is not there yet is empty
	return string(text)
}

// close ends the program. One that has ended by itself is an error.
func (p *program) close() error {
	if !p.Alive() {
		return fmt.Errorf("%s has ended by itself", p.name)
	}
	const grace = 10 * time.Second
	if err := errors.Join(p.Stop(grace), p.Err()); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// A browser is somebody's, with its cookies. One goroutine may use it.
type browser struct {
	url    string
	client *http.Client
}

// newBrowser is one that knows nothing.
func (a *api) newBrowser() *browser {
	jar, _ := cookiejar.New(nil) // without options it has no error
	return &browser{url: a.url, client: &http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: answerTimeout}}
}

func (b *browser) close() { b.client.CloseIdleConnections() }

// errStatus is an answer that is not 200.
var errStatus = errors.New("it answers")

// call sends a request, follows redirects, and decodes the answer into v unless that is
// nil. It returns where the redirects end.
func (b *browser) call(ctx context.Context, v any, method, target string, form url.Values) (*url.URL, error) {
	if strings.HasPrefix(target, "/") {
		target = b.url + target
	}
	request, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	if form != nil || v == nil {
		request.Header.Set("Accept", "text/html")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	response, err := b.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w %s: %.200s", errStatus, response.Status, body)
	}
	if err == nil && v != nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, request.URL.Path, err)
	}
	return response.Request.URL, nil
}

// signIn goes through the sign-in, and returns the person's id.
func (b *browser) signIn(ctx context.Context, login string) (string, error) {
	page, err := b.call(ctx, nil, http.MethodGet, "/", nil)
	if err != nil {
		return "", err
	}
	// The page's form sends on what the page was asked with; its own address will do.
	form := url.Values{"account": {login}, "decision": {"authorize"}}
	if _, err := b.call(ctx, nil, http.MethodPost, page.String(), form); err != nil {
		return "", err
	}
	var list nodeList
	_, err = b.call(ctx, &list, http.MethodGet, "/exclude", nil)
	if err == nil && (list.User == "" || list.User == anonymous) {
		err = errors.New("the API does not know who has signed in")
	}
	return list.User, err
}

// nodeList is the answer of GET /exclude.
type nodeList struct {
	User  string
	Nodes []string
}

// anonymous is whom the API takes for nobody.
const anonymous = "anonymous"
