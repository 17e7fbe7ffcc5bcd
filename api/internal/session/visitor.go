package session

import (
	"crypto/rand"
	"net/http"
	"time"
)

// VisitorLifetime is how long what a visitor does is remembered, counted from
// the last time.
const VisitorLifetime = 7 * 24 * time.Hour

const visitorCookie = "sponsor-visitor"

// Visitor returns the id of somebody who is not signed in, if the browser
// brought one. It is no number, so it cannot meet an id of GitHub's, and it
// does not tell what is in the cookie.
func (m *Manager) Visitor(r *http.Request) (id string, ok bool) {
	secret, ok := m.cookies.Get(r, visitorCookie)
	if !ok {
		return "", false
	}
	return hashed(secret), true
}

// Welcome returns the id of a visitor, a new one if need be, and sends the
// cookie that keeps it for VisitorLifetime from now.
func (m *Manager) Welcome(w http.ResponseWriter, r *http.Request) (id string) {
	secret, ok := m.cookies.Get(r, visitorCookie)
	if !ok {
		secret = rand.Text()
	}
	m.cookies.Set(w, visitorCookie, secret, VisitorLifetime)
	return hashed(secret)
}

// ForgetVisitor clears the visitor's cookie.
func (m *Manager) ForgetVisitor(w http.ResponseWriter) { m.cookies.Clear(w, visitorCookie) }
