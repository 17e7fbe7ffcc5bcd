package server

import (
	"net/http"
	"net/url"
	"strings"
)

// Who may change something
//
// The Pattern's page excludes a node with a GET, from another origin, with
// cookies and without a token against forgery. So every request that changes
// something must show where it comes from:
//
//  1. Sec-Fetch-Site, if the browser sends it: pages cannot forge it.
//     same-origin is our own page and none is a person (address bar, bookmark).
//     Everything else needs an Origin that is on the list: an <img> has none.
//     It comes first because our pages send no Referer, and then Chromium
//     sends "Origin: null" with our own forms.
//  2. Otherwise Origin, if there is one: it must be ours or on the list.
//  3. Otherwise Referer: absent (curl) or from an origin that is ours or on the
//     list.

// mayChange tells whether a request of an API client may change something.
func (s *Server) mayChange(r *http.Request) error {
	return s.comesFrom(r, "This request comes from a page that may not make it. Its origin must be in ALLOWED_ORIGINS.",
		func(origin string) bool { return origin == s.self || s.origins[origin] })
}

// fromHere tells whether a request comes from our own pages (or from a program
// that is no browser). Forms and signing out are for nobody else.
func (s *Server) fromHere(r *http.Request) error {
	return s.comesFrom(r, "This form was not sent by our own page. Please go to your account and try there.",
		func(origin string) bool { return origin == s.self })
}

func (s *Server) comesFrom(r *http.Request, refusal string, allowed func(origin string) bool) error {
	refused := forbidden(refusal)
	// A browser that fetches ahead acts for nobody.
	for _, header := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if purpose := strings.Join(r.Header.Values(header), ","); strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "preview") {
			return refused
		}
	}
	site, origin := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	if len(site) > 1 || len(origin) > 1 {
		return refused
	}
	switch {
	case len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
		return nil
	case len(site) == 1 && site[0] != "same-site" && site[0] != "cross-site":
		return refused
	case len(origin) == 1:
		if allowed(origin[0]) {
			return nil
		}
		return refused
	case len(site) == 1:
		return refused
	}
	referer := r.Header.Get("Referer")
	if referer == "" {
		return nil
	}
	u, err := url.Parse(referer)
	if err != nil || !allowed(u.Scheme+"://"+u.Host) {
		return refused
	}
	return nil
}

// shared lets pages of the listed origins read the answers of h (CORS with
// cookies).
func (s *Server) shared(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); s.origins[origin] {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		return h(w, r)
	}
}

// handlePreflight answers what a browser asks before a request that is not a
// simple one.
func (s *Server) handlePreflight(methods string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !s.origins[r.Header.Get("Origin")] {
			return forbidden("This origin is not in ALLOWED_ORIGINS.")
		}
		h := w.Header()
		h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", "content-type")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
