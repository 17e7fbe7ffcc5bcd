package server

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// prefersHTML tells a browser that shows a page from a program. A program that
// takes anything gets JSON.
func prefersHTML(r *http.Request) bool {
	html, json := accepts(r)
	return html > 0 && html >= json
}

// prefersJSON tells that the client asks for JSON by name.
func prefersJSON(r *http.Request) bool {
	html, json := accepts(r)
	return json > 0 && json > html
}

// accepts returns how much the client wants text/html and application/json, 0
// to 1, named as such.
func accepts(r *http.Request) (html, json float64) {
	for _, header := range r.Header.Values("Accept") {
		for item := range strings.SplitSeq(header, ",") {
			media, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			q := 1.0
			if s, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(s, 64); err != nil {
					continue
				}
			}
			switch media {
			case "text/html":
				html = max(html, q)
			case "application/json", "application/problem+json":
				json = max(json, q)
			}
		}
	}
	return html, json
}
