package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// MinSecret is the least number of bytes a secret of Cookies may have.
const MinSecret = 32

// maxCookie bounds a cookie's value before anything is computed from it. Ours
// have about a hundred bytes.
const maxCookie = 512

// Cookies reads and writes signed cookies. The signature covers the name, so
// that one cookie cannot be passed off as another. It may be used from several
// goroutines.
type Cookies struct {
	keys   atomic.Pointer[[][]byte] // the first one signs, all of them verify
	secure bool
}

// NewCookies derives the keys of the secrets, current first, then previous
// ones. Secure makes cookies that browsers keep to https and to this very host
// (__Host-); without it they work on plain http, which is for loopback only.
func NewCookies(secure bool, secrets ...string) (*Cookies, error) {
	c := &Cookies{secure: secure}
	if err := c.Rotate(secrets...); err != nil {
		return nil, err
	}
	return c, nil
}

// Rotate replaces the secrets, current first, then previous ones. If one will not
// do, the old ones stay.
func (c *Cookies) Rotate(secrets ...string) error {
	if len(secrets) == 0 {
		return errors.New("no secret to sign cookies with")
	}
	var keys [][]byte
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("secret %d has %d bytes, at least %d are needed", i+1, len(secret), MinSecret)
		}
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, "redis-sponsor cookies", sha256.Size)
		if err != nil {
			return fmt.Errorf("derive cookie key: %w", err)
		}
		keys = append(keys, key)
	}
	c.keys.Store(&keys)
	return nil
}

// Name is the cookie's name in the browser.
func (c *Cookies) Name(name string) string {
	if c.secure {
		return "__Host-" + name
	}
	return name
}

// Set signs value and sends it, to be kept for maxAge.
func (c *Cookies) Set(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	signed := value + "." + base64.RawURLEncoding.EncodeToString(sign((*c.keys.Load())[0], name, value))
	c.write(w, name, signed, int(maxAge/time.Second))
}

// Clear makes the browser forget the cookie.
func (c *Cookies) Clear(w http.ResponseWriter, name string) { c.write(w, name, "", -1) }

func (c *Cookies) write(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without Secure on plain http, that is on loopback, only
		Name: c.Name(name), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Get returns the value of the cookie if its signature is good.
func (c *Cookies) Get(r *http.Request, name string) (value string, ok bool) {
	for _, cookie := range r.CookiesNamed(c.Name(name)) {
		if value, ok = c.verify(name, cookie.Value); ok {
			return value, true
		}
	}
	return "", false
}

func (c *Cookies) verify(name, signed string) (string, bool) {
	dot := strings.LastIndexByte(signed, '.')
	if dot <= 0 || len(signed) > maxCookie {
		return "", false
	}
	value := signed[:dot]
	mac, err := base64.RawURLEncoding.DecodeString(signed[dot+1:])
	if err != nil {
		return "", false
	}
	for _, key := range *c.keys.Load() {
		if hmac.Equal(mac, sign(key, name, value)) {
			return value, true
		}
	}
	return "", false
}

// sign binds value to the cookie's name. No name holds a NUL.
func sign(key []byte, name, value string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write([]byte(value))
	return h.Sum(nil)
}

// hashed is how a random value from a cookie is named in Redis, so that who
// can read Redis cannot sign in with what they find.
func hashed(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
