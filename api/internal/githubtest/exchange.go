package githubtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The errors of the exchange, as GitHub documents them.
const (
	ErrIncorrectClientCredentials = "incorrect_client_credentials"
	ErrRedirectURIMismatch        = "redirect_uri_mismatch"
	ErrBadVerificationCode        = "bad_verification_code"
	ErrUnverifiedUserEmail        = "unverified_user_email"
)

func (s *Server) handleExchange(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	token, g, code := s.exchange(r.PostForm)
	if code != "" {
		writeExchange(w, r, exchangeError(code))
		return
	}
	writeExchange(w, r, url.Values{
		"access_token": {token},
		"token_type":   {"bearer"},
		"scope":        {strings.Join(g.scopes, ",")},
	})
}

// exchange trades a code for a token. A code is spent by the first attempt,
// whatever comes of it. The last result is the error's code, or empty.
func (s *Server) exchange(form url.Values) (string, grant, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if form.Get("client_id") != s.cfg.ClientID || form.Get("client_secret") != s.cfg.ClientSecret {
		return "", grant{}, ErrIncorrectClientCredentials
	}
	g, ok := s.codes[form.Get("code")]
	delete(s.codes, form.Get("code"))
	switch {
	case !ok, s.cfg.Now().After(g.expires), challengeOf(form.Get("code_verifier")) != g.challenge:
		return "", grant{}, ErrBadVerificationCode
	case form.Get("redirect_uri") != g.redirect:
		return "", grant{}, ErrRedirectURIMismatch
	case !slices.ContainsFunc(g.account.Emails, func(e Email) bool { return e.Primary && e.Verified }):
		return "", grant{}, ErrUnverifiedUserEmail
	}
	token := random("token-")
	s.tokens[token] = g
	return token, g, ""
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func exchangeError(code string) url.Values {
	return url.Values{
		"error":             {code},
		"error_description": {"The stand-in refuses: " + code + "."},
		"error_uri":         {"http://localhost/docs#" + code},
	}
}

// writeExchange answers 200 whatever happened, as GitHub does: as a form,
// unless JSON is asked for.
func writeExchange(w http.ResponseWriter, r *http.Request, answer url.Values) {
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		_, _ = w.Write([]byte(answer.Encode()))
		return
	}
	flat := make(map[string]string, len(answer))
	for k := range answer {
		flat[k] = answer.Get(k)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(flat)
}
