package github

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestNew_Layout(t *testing.T) {
	for _, tt := range []struct{ name, url, authorize, token, api, graphQL, issuer string }{
		{"GitHub", "https://github.com", "https://github.com/login/oauth/authorize", "https://github.com/login/oauth/access_token", "https://api.github.com", "https://api.github.com/graphql", "https://github.com/login/oauth"},
		{"enterprise server", "https://ghe.example.org/", "https://ghe.example.org/login/oauth/authorize", "https://ghe.example.org/login/oauth/access_token", "https://ghe.example.org/api/v3", "https://ghe.example.org/api/graphql", "https://ghe.example.org/login/oauth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Config{URL: tt.url})
			for what, pair := range map[string][2]string{
				"authorize": {c.oauth.Endpoint.AuthURL, tt.authorize},
				"token":     {c.oauth.Endpoint.TokenURL, tt.token},
				"REST":      {c.apiURL, tt.api},
				"GraphQL":   {c.graphQL, tt.graphQL},
				"issuer":    {c.Issuer(), tt.issuer},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s = %s, want %s", what, pair[0], pair[1])
				}
			}
		})
	}
}

func TestAuthorizeURL(t *testing.T) {
	c := New(Config{URL: DefaultURL, ClientID: "id", Secrets: Secrets{ClientSecret: "hidden"}, Callback: "https://api.example.org/oauth2/callback"})
	u, err := url.Parse(c.AuthorizeURL("the-state", NewVerifier()))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"client_id": "id", "state": "the-state", "scope": "read:user user:email",
		"redirect_uri": "https://api.example.org/oauth2/callback", "code_challenge_method": "S256",
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(q.Get("code_challenge")) != 43 || strings.Contains(u.String(), "hidden") {
		t.Errorf("URL %s", u)
	}
}

// Errors name the call and the kind. What a library says about them quotes the
// answer, and must not come through.
func TestErrors_QuoteNothing(t *testing.T) {
	const secret = "token-that-leaked"
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		return nil, errors.New("failed: " + secret)
	})
	c := New(Config{URL: DefaultURL, Transport: transport})
	_, err := c.SignIn(t.Context(), secret, "verifier")
	var failed *Error
	if !errors.As(err, &failed) || failed.Kind != Unavailable {
		t.Errorf("error %v, want kind %v", err, Unavailable)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error quotes the code: %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnswer(t *testing.T) {
	if Answer(0) != Unknown {
		t.Error("the zero Answer is not Unknown")
	}
	for a, want := range map[Answer]string{Yes: "true", No: "false", Unknown: "null"} {
		b, err := json.Marshal(a)
		if err != nil || string(b) != want {
			t.Errorf("JSON of %v = %s (%v), want %s", a, b, err, want)
		}
		var back Answer
		if err := json.Unmarshal(b, &back); err != nil || back != a {
			t.Errorf("%s is read as %v (%v)", b, back, err)
		}
	}
	var a Answer
	if err := json.Unmarshal([]byte(`"perhaps"`), &a); err == nil {
		t.Errorf("perhaps is read as %v", a)
	}
}
