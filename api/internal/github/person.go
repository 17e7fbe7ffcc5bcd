package github

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// A Person is what GitHub said about somebody who signed in.
type Person struct {
	// ID is GitHub's numeric id: it stays when the login is renamed.
	ID int64
	// Login is the name of the account, today.
	Login string
	// Email is the verified address, or empty if there is none or it is
	// withheld. It means something only if EmailKnown.
	Email string
	// EmailKnown tells that GitHub answered about the address.
	EmailKnown bool
	// Sponsorship is that of the organisation.
	Sponsorship Sponsorship
}

type user struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Email string `json:"email"`
}

// loginPattern is what a login looks like; those of enterprises have an
// underscore, those of applications end in [bot].
var loginPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?$`)

func (c *Client) user(ctx context.Context, token string) (user, error) {
	const call = "user"
	start := time.Now()
	status, body, err := c.get(ctx, "/user", token)
	c.observe(call, err == nil && status == http.StatusOK, start)
	if err != nil {
		return user{}, transportError(call, err)
	}
	if status != http.StatusOK {
		return user{}, statusError(call, status)
	}
	var u user
	if err := json.Unmarshal(body, &u); err != nil || u.ID <= 0 || !loginPattern.MatchString(u.Login) {
		return user{}, &Error{call, Nonsense, status}
	}
	return u, nil
}

// email is the public address, or else the primary one if it is verified.
// Somebody who did not grant user:email has none for us; that is known. A call
// that failed leaves it unknown.
func (c *Client) email(ctx context.Context, token, public string) (address string, known bool) {
	if plausibleEmail(public) {
		return public, true
	}
	start := time.Now()
	status, body, err := c.get(ctx, "/user/emails", token)
	// 404 is the answer to somebody who did not grant user:email.
	c.observe("emails", err == nil && (status == http.StatusOK || status == http.StatusNotFound), start)
	switch {
	case err != nil:
		return "", false
	case status == http.StatusNotFound:
		return "", true
	case status != http.StatusOK:
		return "", false
	}
	var list []struct {
		Email    string
		Primary  bool
		Verified bool
	}
	if err := json.Unmarshal(body, &list); err != nil || list == nil {
		return "", false
	}
	for _, e := range list {
		if e.Primary && e.Verified && plausibleEmail(e.Email) {
			return e.Email, true
		}
	}
	return "", true
}

// plausibleEmail keeps nonsense out of the database; whether the address works
// is GitHub's to know. 254 is the longest an address can be (RFC 5321).
func plausibleEmail(s string) bool {
	return len(s) <= 254 && strings.Contains(s, "@") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' })
}
