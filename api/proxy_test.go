package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const nginxExample = "../scripts/nginx/sponsor-api.conf"

// nginxProgram finds nginx. Without one the test is skipped, and fails where CI=true.
func nginxProgram(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it drives another program")
	}
	// Debian keeps it where only root's PATH leads.
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no nginx: run scripts/setup test, or install the package nginx-light"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// nginxMain is what a distribution's nginx.conf would say, for a process that anybody
// may start: one process, in a folder of its own.
const nginxMain = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include example.conf;
}
`

// A nginxSite is a site behind a real nginx with the example configuration, and a
// search API beside it.
type nginxSite struct {
	*site
	plain string // URL of the server without TLS
	dir   string
}

// newNginxSite starts one. The edits are pairs of old and new text, for the example.
func newNginxSite(t *testing.T, change func(map[string]string), edits ...string) *nginxSite {
	t.Helper()
	program := nginxProgram(t)
	var ports [4]int // IPv6 need not be here, so its ports are of IPv4, too
	for i := range ports {
		p, err := redistest.ReservePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		ports[i] = p.Number
	}
	s := &site{t: t, redis: redistest.New(t, redistest.Config{}), log: &logBuffer{}}
	s.startProxy() // for its certificate
	s.url = fmt.Sprintf("https://127.0.0.1:%d", ports[0])
	s.startGitHub()
	if change != nil {
		change(s.settings)
	}
	s.open(nil)
	n := &nginxSite{site: s, plain: fmt.Sprintf("http://127.0.0.1:%d", ports[2]), dir: t.TempDir()}
	n.writeCertificate()
	edits = append([]string{
		"listen 443 ssl;", fmt.Sprintf("listen 127.0.0.1:%d ssl;", ports[0]),
		"listen [::]:443 ssl;", fmt.Sprintf("listen 127.0.0.1:%d ssl;", ports[1]),
		"listen 80;", fmt.Sprintf("listen 127.0.0.1:%d;", ports[2]),
		"listen [::]:80;", fmt.Sprintf("listen 127.0.0.1:%d;", ports[3]),
		"server_name api.example.org;", "server_name 127.0.0.1;",
		"https://api.example.org$request_uri", s.url + "$request_uri",
		"/etc/letsencrypt/live/api.example.org/fullchain.pem", "cert.pem",
		"/etc/letsencrypt/live/api.example.org/privkey.pem", "key.pem",
		"/var/log/nginx/sponsor-api.log", "access.log",
		"proxy_pass http://127.0.0.1:8080;", "proxy_pass http://" + s.main.Addr() + ";",
		"http://127.0.0.1:8080/auth;", "http://" + s.main.Addr() + "/auth;",
		"http://127.0.0.1:5000;", n.startSearch() + ";",
	}, edits...)
	n.write("example.conf", edited(t, nginxExample, edits))
	n.write("nginx.conf", nginxMain)
	n.start(program, ports[:])
	return n
}

// strays are names, paths and ports that a test must not use.
var strays = regexp.MustCompile(`example\.org|/etc/|/var/|\b(80|443|5000|8080)\b`)

// edited returns a file with every old text replaced by the new one that follows it.
// It fails the test if one is not there, or if one was forgotten.
func edited(t *testing.T, file string, edits []string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for pair := range slices.Chunk(edits, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("%s has no %q any more", file, pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	for line := range strings.Lines(text) {
		directive, _, _ := strings.Cut(line, "#")
		if stray := strays.FindString(directive); stray != "" {
			t.Fatalf("%s: this line still has %q: %s", file, stray, line)
		}
	}
	return text
}

// write makes a file in nginx's folder.
func (n *nginxSite) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// read returns what is in a file of nginx's folder.
func (n *nginxSite) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(n.dir, name)) // not there yet: empty
	return string(b)
}

// writeCertificate lets nginx have the certificate that browsers of the site trust.
func (n *nginxSite) writeCertificate() {
	n.t.Helper()
	c := n.tls.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	n.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// start runs nginx, until the end of the test.
func (n *nginxSite) start(program string, ports []int) {
	n.t.Helper()
	argv := []string{program, "-p", n.dir + "/", "-c", "nginx.conf", "-e", "stderr"}
	nginx, err := redistest.StartProcess(argv, os.Environ(), n.dir, filepath.Join(n.dir, "output.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := nginx.Stop(10 * time.Second); err != nil {
			n.t.Error(err)
		}
		if n.t.Failed() {
			n.t.Logf("output of nginx:\n%s", n.read("output.log"))
		}
	})
	redistest.Eventually(n.t, 10*time.Second, func() error {
		if !nginx.Alive() {
			n.t.Fatalf("nginx has ended: %v", nginx.Err())
		}
		for _, port := range ports {
			conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
			if err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	})
}

// heard is what the search API was asked.
type heard struct {
	Method, URL, Body string
	Header            http.Header
}

// startSearch runs a search API that answers with what it was asked.
func (n *nginxSite) startSearch() string {
	search := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			n.t.Errorf("search: read the body: %v", err)
		}
		for name, values := range r.Trailer {
			r.Header[name] = append(r.Header[name], values...)
		}
		_ = json.NewEncoder(w).Encode(heard{r.Method, r.RequestURI, string(body), r.Header}) // the client went away
	}))
	n.t.Cleanup(search.Close)
	return search.URL
}

// readHeard reads an answer of the search API.
func readHeard(t *testing.T, a answer) heard {
	t.Helper()
	wantStatus(t, "search", a, http.StatusOK)
	var h heard
	if err := json.Unmarshal([]byte(a.body), &h); err != nil {
		t.Fatalf("search answers %q: %v", a.body, err)
	}
	return h
}

// identity is everything in the headers that Flask would read a person from. Behind
// WSGI an underscore is as good as a hyphen.
func (h heard) identity() string {
	var found []string
	for name, values := range h.Header {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if slices.Contains([]string{"X-User-Id", "X-Sponsor", "X-Entitlements"}, name) {
			found = append(found, fmt.Sprintf("%s=%s", name, strings.Join(values, "|")))
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// browserFrom is a browser at another address of this machine.
func (n *nginxSite) browserFrom(address string) *browser {
	n.t.Helper()
	b := n.browser()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	b.http.Transport.(*http.Transport).DialContext = d.DialContext
	return b
}

func TestNginx_SearchKnowsThePerson(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "early-access=1,priority=100000" })
	sponsor, visitor, nobody := n.browser(), n.browser(), n.browser()
	sponsor.signIn("sponsor-1")
	visitor.signIn("visitor-1")
	for _, tt := range []struct {
		name string
		b    *browser
		want string
	}{
		{"sponsor", sponsor, "X-Entitlements=early-access X-Sponsor=yes X-User-Id=" + n.id("sponsor-1")},
		{"no sponsor", visitor, "X-Sponsor=no X-User-Id=" + n.id("visitor-1")},
		{"signed out", nobody, ""},
	} {
		for _, request := range []struct{ method, body string }{
			{http.MethodGet, ""},
			{http.MethodPost, strings.Repeat("words ", 10_000)},
			{http.MethodDelete, ""},
		} {
			t.Run(tt.name+" "+request.method, func(t *testing.T) {
				a := tt.b.do(request.method, "/search/nodes%2F1?q=a+b&id=%20", request.body, "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "gopher")
				h := readHeard(t, a)
				if got := h.identity(); got != tt.want {
					t.Errorf("the search API heard %q, want %q", got, tt.want)
				}
				if h.Method != request.method || h.URL != "/search/nodes%2F1?q=a+b&id=%20" || h.Body != request.body {
					t.Errorf("the search API was asked %s %s with %d bytes", h.Method, h.URL, len(h.Body))
				}
				if got := h.Header.Get("X-Forwarded-For") + " " + h.Header.Get("X-Forwarded-Proto"); got != "127.0.0.1 https" {
					t.Errorf("address and scheme = %s", got)
				}
			})
		}
	}
	sponsor.do(http.MethodPost, "/logout", "")
	if got := readHeard(t, sponsor.get("/search/x")).identity(); got != "" {
		t.Errorf("signed out again: the search API heard %q", got)
	}
	wantStatus(t, "/_auth from outside", visitor.get("/_auth"), http.StatusNotFound)
}

// What a client says of itself never arrives, however it is written.
func TestNginx_ForgedIdentity(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, nil)
	b := n.browser()
	b.signIn("visitor-1")
	cookie := sessionCookie + "=" + b.cookie(sessionCookie)
	for _, who := range []struct{ name, cookie, want string }{
		{"signed in", cookie, "X-Sponsor=no X-User-Id=" + n.id("visitor-1")},
		{"signed out", "a=b", ""},
		{"forged cookie", cookie + "x", ""},
	} {
		for _, tt := range []struct {
			name, request string
			refused       bool // nginx may answer 400
		}{
			{name: "nothing", request: "GET /search/ HTTP/1.1\r\n"},
			{name: "as ours", request: "GET /search/ HTTP/1.1\r\nX-User-Id: 1\r\nX-Sponsor: yes\r\nX-Entitlements: all\r\n"},
			{name: "lower case", request: "GET /search/ HTTP/1.1\r\nx-user-id: 1\r\nx-sponsor: yes\r\nx-entitlements: all\r\n"},
			{name: "upper case", request: "GET /search/ HTTP/1.1\r\nX-USER-ID: 1\r\nX-SPONSOR: yes\r\nX-ENTITLEMENTS: all\r\n"},
			{name: "twice", request: "GET /search/ HTTP/1.1\r\nX-User-Id: 1\r\nX-User-Id: 2\r\n"},
			{name: "underscores", request: "GET /search/ HTTP/1.1\r\nX_User_Id: 1\r\nX_Sponsor: yes\r\nX_ENTITLEMENTS: all\r\n"},
			{name: "one underscore", request: "GET /search/ HTTP/1.1\r\nX-User_Id: 1\r\nx_user-id: 1\r\n"},
			{name: "empty", request: "GET /search/ HTTP/1.1\r\nX-User-Id:\r\n"},
			{name: "hop by hop", request: "GET /search/ HTTP/1.1\r\nConnection: X-User-Id, X-Sponsor\r\nX-User-Id: 1\r\n"},
			{name: "HTTP/1.0", request: "GET /search/ HTTP/1.0\r\nX-User-Id: 1\r\n"},
			{name: "method", request: "PURGE /search/ HTTP/1.1\r\nX-User-Id: 1\r\n"},
			{name: "space before the colon", request: "GET /search/ HTTP/1.1\r\nX-User-Id : 1\r\n", refused: true},
			{name: "folded line", request: "GET /search/ HTTP/1.1\r\nX-A: b\r\n X-User-Id: 1\r\n", refused: true},
			{name: "bare line feeds", request: "GET /search/ HTTP/1.1\r\nX-A: b\nX-User-Id: 1\n", refused: true},
			{name: "carriage return", request: "GET /search/ HTTP/1.1\r\nX-A: b\rX-User-Id: 1\r\n", refused: true},
			{name: "NUL", request: "GET /search/ HTTP/1.1\r\nX-User-Id\x00: 1\r\n", refused: true},
			{name: "trailer", request: "POST /search/ HTTP/1.1\r\nTrailer: X-User-Id\r\nTransfer-Encoding: chunked\r\n"},
		} {
			t.Run(who.name+"/"+tt.name, func(t *testing.T) {
				end := ""
				if strings.Contains(tt.request, "chunked") {
					end = "3\r\nabc\r\n0\r\nX-User-Id: 1\r\n\r\n"
				}
				a := n.raw(t, tt.request+"Host: 127.0.0.1\r\nCookie: "+who.cookie+"\r\n\r\n"+end)
				if tt.refused && a.StatusCode == http.StatusBadRequest {
					return
				}
				if got := readHeard(t, a).identity(); got != who.want {
					t.Errorf("the search API heard %q, want %q", got, who.want)
				}
			})
		}
	}
}

// raw sends a request as it is written.
func (n *nginxSite) raw(t *testing.T, request string) answer {
	t.Helper()
	d := tls.Dialer{Config: n.browser().http.Transport.(*http.Transport).TLSClientConfig}
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(n.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func TestNginx_SponsorsOnly(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, nil)
	sponsor, visitor, nobody := n.browser(), n.browser(), n.browser()
	sponsor.signIn("sponsor-1")
	visitor.signIn("visitor-1")
	forged := []string{"X-Sponsor", "yes", "X-User-Id", n.id("sponsor-1")}
	const page = "/sponsors-only/page?x=%2F"
	wantStatus(t, "signed out", nobody.get(page, forged...), http.StatusUnauthorized)
	wantStatus(t, "no sponsor", visitor.get(page, forged...), http.StatusForbidden)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		h := readHeard(t, sponsor.do(method, page, "", forged...))
		if want := "X-Sponsor=yes X-User-Id=" + n.id("sponsor-1"); h.identity() != want || h.URL != page || h.Method != method {
			t.Errorf("behind it %s %s with %q was heard, want %q", h.Method, h.URL, h.identity(), want)
		}
	}
	// Other ways to write the path do not lead around the question.
	for _, path := range []string{
		"/search/../sponsors-only/page", "/search/..%2fsponsors-only/page", "/search/%2e%2e/sponsors-only/page",
		"//sponsors-only/page", "/sponsors%2Donly/page", "/sponsors-only//page", "/sponsors-only/../sponsors-only/page",
	} {
		a := n.raw(t, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Sponsor: yes\r\n\r\n")
		wantStatus(t, path, a, http.StatusUnauthorized)
	}
}

func TestNginx_MetricsAndPlainHTTP(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, nil)
	b := n.browser()
	for _, path := range []string{"/livez", "/readyz", "/metrics", "//metrics", "/%6detrics", "/x/../metrics", "/metrics?x=1", "/metrics/"} {
		a := n.raw(t, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		wantStatus(t, path, a, http.StatusNotFound)
	}
	wantStatus(t, "/metrics past nginx", b.get("http://"+n.main.Addr()+"/metrics"), http.StatusOK)
	a := b.get(n.plain + "/exclude?id=C1")
	if want := n.url + "/exclude?id=C1"; a.StatusCode != http.StatusMovedPermanently || a.location() != want {
		t.Errorf("without TLS = %d to %q, want %q", a.StatusCode, a.location(), want)
	}
	if keys := n.keys("*"); len(keys) != 0 {
		t.Errorf("a request without TLS wrote %v", keys)
	}
}

// Sign-in and excluding work through nginx as they do without it.
func TestNginx_SignInAndExclude(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, nil)
	b := n.browser()
	page := []string{"Origin", testOrigin, "Sec-Fetch-Site", "same-site"}
	cors := func(what string, a answer) {
		t.Helper()
		if a.Header.Get("Access-Control-Allow-Origin") != testOrigin || a.Header.Get("Access-Control-Allow-Credentials") != "true" ||
			!slices.Contains(a.Header.Values("Vary"), "Origin") || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", what, a.Header)
		}
	}
	a := b.get("/exclude?id=C0000001", page...)
	wantStatus(t, "a visitor", a, http.StatusOK)
	cors("a visitor", a)

	callback := b.authorize("visitor-1", "/")
	if !strings.HasPrefix(callback, n.url+"/oauth2/callback?") {
		t.Errorf("callback = %s", callback)
	}
	a = b.get(callback, "Accept", "text/html")
	if a.StatusCode != http.StatusSeeOther {
		t.Fatalf("callback = %d %s", a.StatusCode, a.body)
	}
	account := b.get("/account", "Accept", "text/html")
	wantStatus(t, "/account", account, http.StatusOK)
	if account.Header.Get("Content-Security-Policy") == "" || account.Header.Get("Strict-Transport-Security") == "" || !strings.Contains(account.body, "visitor-1") {
		t.Errorf("/account: %v %s", account.Header, account.body)
	}

	a = b.do(http.MethodOptions, "/exclude", "", append(page, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")...)
	wantStatus(t, "preflight", a, http.StatusNoContent)
	cors("preflight", a)
	a = b.get("/exclude?id=C5162902", page...)
	wantStatus(t, "exclude", a, http.StatusOK)
	cors("exclude", a)
	a = b.get("/exclude?id=C5162903", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	wantStatus(t, "from another page", a, http.StatusForbidden)
	if a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("from another page: headers %v", a.Header)
	}
	wantStatus(t, "form", b.form("/account/take-back", map[string][]string{"id": {"C0000001"}}), http.StatusSeeOther)
	if got := n.members("user:" + n.id("visitor-1") + ":mnodes"); !slices.Equal(got, []string{"C5162902"}) {
		t.Errorf("nodes = %v", got)
	}
	wantStatus(t, "export", b.get("/me/export"), http.StatusOK)

	log := n.read("access.log")
	if !strings.Contains(log, "GET /oauth2/callback 303") {
		t.Errorf("nginx's log lacks the sign-in:\n%s", log)
	}
	for _, secret := range []string{"code=", "state=", "C5162902", "?"} {
		if strings.Contains(log, secret) {
			t.Errorf("nginx's log has %q:\n%s", secret, log)
		}
	}
}

// Limits are by the client's address, not by nginx's, and a client cannot make up
// another one.
func TestNginx_LimitsSeeTheClient(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, func(m map[string]string) { m["LIMIT_PER_ADDRESS"] = "30" })
	greedy, other := n.browserFrom("127.0.0.2"), n.browserFrom("127.0.0.3")
	spend(t, greedy, "10.0.0.%d")
	for range 3 {
		wantStatus(t, "another address", other.get("/openapi.json", "X-Forwarded-For", "127.0.0.2"), http.StatusOK)
	}

	// So it is where nginx asks GET /auth.
	member := n.browser()
	member.signIn("visitor-1")
	greedy.http.Jar, other.http.Jar = member.http.Jar, member.http.Jar
	known := func(b *browser) bool {
		return readHeard(t, b.get("/search/", "X-Forwarded-For", "127.0.0.3")).identity() != ""
	}
	for tries := 0; known(greedy); tries++ {
		if tries == 400 {
			t.Fatal("GET /auth does not hold the client's address against the limit")
		}
	}
	if !known(other) {
		t.Error("another address pays for the greedy one")
	}
}

// The example says what to write behind another proxy; here 127.0.0.9 is that.
func TestNginx_BehindAnotherProxy(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, func(m map[string]string) { m["LIMIT_PER_ADDRESS"] = "30" },
		" $remote_addr;", " $proxy_add_x_forwarded_for;")
	cdn := n.browserFrom("127.0.0.9")
	spend(t, cdn, "10.0.0.%d, 203.0.113.7")
	for range 3 {
		wantStatus(t, "another client", cdn.get("/openapi.json", "X-Forwarded-For", "203.0.113.7, 203.0.113.8"), http.StatusOK)
	}
}

// spend asks until the limit of 30 a minute is reached, with another X-Forwarded-For
// each time.
func spend(t *testing.T, b *browser, forwarded string) {
	t.Helper()
	for i := range 60 {
		if a := b.get("/openapi.json", "X-Forwarded-For", fmt.Sprintf(forwarded, i)); a.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Fatal("60 requests and no limit: X-Forwarded-For of a client counts")
}

// The search goes on without exclusions when nobody can say who asks. Pages for
// sponsors do not.
func TestNginx_APIDown(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, nil)
	b := n.browser()
	b.signIn("sponsor-1")
	check := func(when string) {
		t.Helper()
		h := readHeard(t, b.do(http.MethodPost, "/search/?q=1", "words", "X-User-Id", "1", "X_User_Id", "1"))
		if h.identity() != "" || h.Method != http.MethodPost || h.Body != "words" || h.URL != "/search/?q=1" {
			t.Errorf("%s: the search API heard %+v", when, h)
		}
		wantStatus(t, when+": /sponsors-only/", b.get("/sponsors-only/"), http.StatusServiceUnavailable)
	}
	if readHeard(t, b.get("/search/")).identity() == "" {
		t.Fatal("the person is not known to begin with")
	}
	if err := n.redis.Stop(); err != nil {
		t.Fatal(err)
	}
	check("Redis is down")
	if err := n.main.Close(); err != nil {
		t.Fatal(err)
	}
	check("the API is down")
	wantStatus(t, "/me", b.get("/me"), http.StatusBadGateway)

	// Connections are made and nobody answers.
	hung, err := net.Listen("tcp", n.main.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	check("the API hangs")
}

// GitHub's greatest deliveries come through, and no greater ones.
func TestNginx_WebhookBody(t *testing.T) {
	t.Parallel()
	n := newNginxSite(t, func(m map[string]string) { m["GITHUB_WEBHOOK_SECRET"] = webhookSecret })
	n.github.SetWebhook(n.url+webhookPath, webhookSecret)
	b := n.browser()
	for _, tt := range []struct {
		name      string
		size      int
		anonymous bool
		want      int
	}{
		{"1 MiB", 1 << 20, false, http.StatusAccepted},
		{"one byte more", 1<<20 + 1, false, http.StatusRequestEntityTooLarge},
		{"no signature", 1 << 20, true, http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := n.github.Event("created", "visitor-2", nil)
			d.Body = append(d.Body, bytes.Repeat([]byte(" "), tt.size-len(d.Body))...)
			if tt.anonymous {
				d.Secret = ""
			}
			var headers []string
			for name, values := range d.Header() {
				headers = append(headers, name, values[0])
			}
			wantStatus(t, "delivery", b.do(http.MethodPost, webhookPath, string(d.Body), headers...), tt.want)
		})
	}
	if got, want := n.members("sponsors:"+testOrg), []string{n.id("visitor-2")}; !slices.Equal(got, want) {
		t.Errorf("sponsors = %v, want %v", got, want)
	}
}
