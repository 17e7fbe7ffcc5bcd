package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// form is the form of a page, as filled in so far.
type form struct {
	action, method string
	values         url.Values
	choices        map[string][]string // of radio buttons and buttons
}

// readForm returns the first form of a page, with what its page has filled in.
func readForm(p *page) (*form, error) {
	d := xml.NewDecoder(bytes.NewReader(p.body))
	// HTML is not XML, but as far as we look, this makes one of it.
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var f *form
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s%s has no form: %s", p.url.Host, p.url.Path, excerpt(p.body))
		}
		if err != nil {
			return nil, fmt.Errorf("read the page %s%s: %w", p.url.Host, p.url.Path, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if f, err = f.add(p.url, t); err != nil {
				return nil, err
			}
		case xml.EndElement:
			if t.Name.Local == "form" {
				return f, nil
			}
		}
	}
}

// add takes in a tag of the page. The form is nil until its own tag comes.
func (f *form) add(base *url.URL, tag xml.StartElement) (*form, error) {
	name, value := attribute(tag, "name"), attribute(tag, "value")
	switch {
	case tag.Name.Local == "form":
		action, err := base.Parse(attribute(tag, "action"))
		if err != nil {
			return nil, fmt.Errorf("read the form's action: %w", err)
		}
		method := strings.ToUpper(attribute(tag, "method"))
		if method == "" {
			method = http.MethodGet
		}
		return &form{action: action.String(), method: method, values: url.Values{}, choices: map[string][]string{}}, nil
	case f == nil:
	case tag.Name.Local == "button", attribute(tag, "type") == "radio":
		f.choices[name] = append(f.choices[name], value)
	case attribute(tag, "type") == "checkbox": // nobody checks them
	case tag.Name.Local == "input":
		f.values.Add(name, value)
	}
	return f, nil
}

// choose picks a radio button, or the button to press.
func (f *form) choose(name, value string) error {
	if !slices.Contains(f.choices[name], value) {
		return fmt.Errorf("the form offers %q for %s, not %q", f.choices[name], name, value)
	}
	f.values.Set(name, value)
	return nil
}

func attribute(tag xml.StartElement, name string) string {
	for _, a := range tag.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
