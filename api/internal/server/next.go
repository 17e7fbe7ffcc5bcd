package server

import (
	"net/url"
	"path"
	"strings"
)

// accountPath is where people go who want nothing in particular.
const accountPath = "/account"

// maxNext bounds the path that somebody wants to go to after the sign-in.
const maxNext = 512

// localPath returns where to send a browser that asked for next: next itself if
// it is a page of ours, accountPath otherwise. Browsers read "//host" and
// "/\host" as other hosts, and drop tabs and line ends before they look.
func localPath(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return accountPath
	}
	// A fragment is for the browser alone, and http.Redirect would take it for a
	// part of the path.
	if strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '#' }) {
		return accountPath
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || path.Clean(u.Path) != u.Path {
		return accountPath
	}
	// Next is for looking at pages: a link that signs people in must not lead
	// them to change something, nor round in circles.
	if u.Path != accountPath && !strings.HasPrefix(u.Path, accountPath+"/") {
		return accountPath
	}
	return next
}
