package githubtest

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages/authorize.html
var pages embed.FS

var authorizePage = template.Must(template.ParseFS(pages, "pages/authorize.html"))

// knownScopes are those an application may ask for here.
var knownScopes = []string{"read:user", "user:email", "read:org", "user"}

// request is what an application asks for on the authorize page.
type request struct {
	clientID, redirect, state, challenge string
	scopes                               []string
}

func (s *Server) handleAuthorizePage(w http.ResponseWriter, r *http.Request) {
	req, ok := s.readRequest(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// No form-action here: Chromium applies it to the redirect that follows the
	// form, and that leads to the application.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	page := struct {
		Org      string
		Client   string
		Scopes   []string
		Params   url.Values
		Accounts []Account
	}{Org: s.cfg.Org, Client: req.clientID, Scopes: req.scopes, Params: r.URL.Query(), Accounts: s.people()}
	_ = authorizePage.Execute(w, page) // the browser went away
}

func (s *Server) handleAuthorize(w http.ResponseWriter, r *http.Request) {
	req, ok := s.readRequest(w, r)
	if !ok {
		return
	}
	if r.FormValue("decision") != "authorize" {
		s.back(w, r, req, url.Values{
			"error":             {"access_denied"},
			"error_description": {"The person did not authorize the application."},
			"error_uri":         {s.docs(r, "access-denied")},
		})
		return
	}
	code, err := s.grantCode(r.FormValue("account"), req, r.FormValue("withhold_email") != "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.back(w, r, req, url.Values{"code": {code}})
}

// back sends the browser to the application.
func (s *Server) back(w http.ResponseWriter, r *http.Request, req request, answer url.Values) {
	answer.Set("state", req.state)
	answer.Set("iss", s.issuer(r))
	u, err := url.Parse(req.redirect)
	if err != nil {
		http.Error(w, "redirect_uri is not a URL", http.StatusBadRequest)
		return
	}
	q := u.Query()
	for k, v := range answer {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound)
}

// issuer is what GitHub names itself in iss: its base URL and the path of the
// authorize endpoint's folder.
func (s *Server) issuer(r *http.Request) string {
	return "http://" + r.Host + "/login/oauth"
}

func (s *Server) docs(r *http.Request, topic string) string {
	return "http://" + r.Host + "/docs#" + topic
}

// readRequest reads and checks what the application asks for. If that is at
// fault it answers and returns false.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request) (request, bool) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return request{}, false
	}
	req := request{
		clientID:  r.FormValue("client_id"),
		redirect:  r.FormValue("redirect_uri"),
		state:     r.FormValue("state"),
		challenge: r.FormValue("code_challenge"),
		scopes:    strings.Fields(r.FormValue("scope")),
	}
	if req.clientID != s.cfg.ClientID {
		http.Error(w, "no application has this client_id", http.StatusNotFound)
		return request{}, false
	}
	if req.redirect == "" {
		req.redirect = s.cfg.Callback
	}
	if !sameCallback(s.cfg.Callback, req.redirect) {
		// As GitHub does: never to the unregistered address.
		req.redirect = s.cfg.Callback
		s.back(w, r, req, url.Values{
			"error":             {"redirect_uri_mismatch"},
			"error_description": {"The redirect_uri is not the registered one."},
			"error_uri":         {s.docs(r, "redirect-uri-mismatch")},
		})
		return request{}, false
	}
	if err := req.check(r.FormValue("code_challenge_method")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return request{}, false
	}
	return req, true
}

// check is stricter than GitHub, which does without state and code_challenge:
// an application of ours that forgets them must not pass its tests.
func (req request) check(method string) error {
	var errs []error
	for _, scope := range req.scopes {
		if !slices.Contains(knownScopes, scope) {
			errs = append(errs, fmt.Errorf("there is no scope %q", scope))
		}
	}
	if req.state == "" {
		errs = append(errs, errors.New("state is missing"))
	}
	if method != "S256" || len(req.challenge) != 43 {
		errs = append(errs, errors.New("code_challenge with method S256 is missing"))
	}
	return errors.Join(errs...)
}

// sameCallback compares as GitHub does: scheme and host exactly, the path at or
// below the registered one; on a loopback address any port.
func sameCallback(registered, asked string) bool {
	a, errA := url.Parse(registered)
	b, errB := url.Parse(asked)
	if errA != nil || errB != nil || a.Scheme != b.Scheme || a.Hostname() != b.Hostname() {
		return false
	}
	if a.Port() != b.Port() && !net.ParseIP(a.Hostname()).IsLoopback() {
		return false
	}
	return b.Path == a.Path || strings.HasPrefix(b.Path, strings.TrimSuffix(a.Path, "/")+"/")
}

func (s *Server) grantCode(login string, req request, withholdEmail bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(login)
	switch {
	case a == nil, a.Deleted:
		return "", fmt.Errorf("there is no account %q", login)
	case a.Organization:
		return "", fmt.Errorf("%q is an organisation: only people sign in", login)
	}
	scopes := req.scopes
	if withholdEmail {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "user:email" })
	}
	code := random("code-")
	s.codes[code] = grant{
		account: a, scopes: scopes, redirect: req.redirect, challenge: req.challenge,
		expires: s.cfg.Now().Add(CodeLifetime),
	}
	return code, nil
}

// people copies the accounts that can sign in.
func (s *Server) people() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Account
	for _, a := range s.accounts {
		if !a.Organization && !a.Deleted {
			list = append(list, *a)
		}
	}
	return list
}
