package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// The accounts of the stand-in who play in the story.
const (
	visitorLogin = "visitor-1"
	sponsorLogin = "sponsor-1"
)

// person is somebody who has signed in.
type person struct {
	login, id string
	email     string
	browser   *browser
	nodes     []string // that should be excluded, sorted
}

// me is the answer of GET /me. Sponsor is nil if GitHub did not say.
type me struct {
	ID      int64  `json:"id"`
	Login   string `json:"user_login"`
	Email   string `json:"email"`
	Sponsor *bool  `json:"sponsor"`
	Safety  struct {
		State string `json:"state"`
	} `json:"safety"`
}

// signIn lets an account sign in with a browser of its own, and checks what
// the API then knows about it.
func (s *story) signIn(ctx context.Context, login string, sponsor bool) (*person, error) {
	b, err := newBrowser(s.w.url)
	if err != nil {
		return nil, err
	}
	if err := b.signIn(ctx, login); err != nil {
		return nil, fmt.Errorf("%s signs in: %w", login, err)
	}
	var m me
	if err := b.call(ctx, &m, http.MethodGet, "/me", ""); err != nil {
		return nil, err
	}
	answer := "unknown"
	if m.Sponsor != nil {
		answer = strconv.FormatBool(*m.Sponsor)
	}
	p := &person{login: login, id: strconv.FormatInt(m.ID, 10), email: m.Email, browser: b}
	return p, errors.Join(
		differ("/me user_login", m.Login, login),
		differ("/me sponsor", answer, sponsor))
}

// visitorExcludes ends with a key of the visitor that must never travel.
func (s *story) visitorExcludes(ctx context.Context) (saw []string, err error) {
	if s.visitor, err = s.signIn(ctx, visitorLogin, false); err != nil {
		return nil, err
	}
	saw = append(saw, fmt.Sprintf("%s has id %s, /me says sponsor false", s.visitor.login, s.visitor.id))
	if err := s.excludeAsPattern(ctx, s.visitor, "C0000039"); err != nil {
		return saw, err
	}
	if err := s.localHas(ctx, s.visitor); err != nil {
		return saw, err
	}
	return append(saw, "GET /exclude?id=C0000039 answers 200, and the local server has it"), nil
}

func (s *story) sponsorSignsIn(ctx context.Context) (saw []string, err error) {
	if s.sponsor, err = s.signIn(ctx, sponsorLogin, true); err != nil {
		return nil, err
	}
	if err := s.sponsorsAre(ctx, s.sponsor.id); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%s has id %s, /me says sponsor true, and %s holds the id", s.sponsor.login, s.sponsor.id, s.sponsorsKey())}, nil
}

func (s *story) sponsorExcludes(ctx context.Context) ([]string, error) {
	p := s.sponsor
	err := inOrder(
		func() error { return s.excludeAsPattern(ctx, p, "C5162902") },
		func() error { return s.excludeAsPattern(ctx, p, "C0011849") },
		func() error { return s.excludeByPost(ctx, p, "C0020538") },
		func() error { return s.listed(ctx, p) },
	)
	if err != nil {
		return nil, err
	}
	saw := []string{"GET /exclude lists " + join(p.nodes)}
	err = inOrder(
		func() error { return s.takeBack(ctx, p, "C0011849") },
		func() error { return s.listed(ctx, p) },
		func() error { return s.localHas(ctx, p) },
	)
	if err != nil {
		return saw, err
	}
	return append(saw, "DELETE /exclude?id=C0011849 leaves "+join(p.nodes)), nil
}

// sponsorReturns shows that the sessions were local and are lost, and the
// nodes are not.
func (s *story) sponsorReturns(ctx context.Context) ([]string, error) {
	old, err := s.sponsor.browser.do(ctx, http.MethodGet, "/me", nil)
	if err != nil {
		return nil, err
	}
	if err := old.is(http.StatusUnauthorized); err != nil {
		return nil, err
	}
	again, err := s.signIn(ctx, sponsorLogin, true)
	if err != nil {
		return nil, err
	}
	again.nodes = s.sponsor.nodes
	s.sponsor = again
	if err := s.listed(ctx, again); err != nil {
		return nil, err
	}
	return []string{
		"the old cookie signs nobody in: sessions are kept on the local server only",
		"after a new sign-in, GET /exclude lists " + join(again.nodes),
	}, nil
}

// inOrder calls f one after the other, up to the first error.
func inOrder(f ...func() error) error {
	for _, do := range f {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// excludeAsPattern sends what the page of The Pattern does: a GET from another
// origin, with cookies.
func (s *story) excludeAsPattern(ctx context.Context, p *person, node string) error {
	target := "/exclude?" + url.Values{"id": {node}}.Encode()
	return s.exclude(ctx, p, node, http.MethodGet, target, "", "Origin", patternOrigin, "Sec-Fetch-Site", "same-site")
}

func (s *story) excludeByPost(ctx context.Context, p *person, node string) error {
	return s.exclude(ctx, p, node, http.MethodPost, "/exclude", fmt.Sprintf(`{"id":%q}`, node))
}

func (s *story) exclude(ctx context.Context, p *person, node, method, target, body string, headers ...string) error {
	var answer struct{ Message string }
	if err := p.browser.call(ctx, &answer, method, target, body, headers...); err != nil {
		return fmt.Errorf("%s excludes %s: %w", p.login, node, err)
	}
	p.nodes = append(p.nodes, node)
	slices.Sort(p.nodes)
	return differ(method+" /exclude", answer.Message, "Finished "+node+" and "+p.id)
}

func (s *story) takeBack(ctx context.Context, p *person, node string) error {
	var answer struct{ Message string }
	target := "/exclude?" + url.Values{"id": {node}}.Encode()
	if err := p.browser.call(ctx, &answer, http.MethodDelete, target, ""); err != nil {
		return fmt.Errorf("%s takes %s back: %w", p.login, node, err)
	}
	p.nodes = slices.DeleteFunc(p.nodes, func(n string) bool { return n == node })
	return nil
}

// listed asks the API for the person's nodes.
func (s *story) listed(ctx context.Context, p *person) error {
	var answer struct {
		User  string
		Nodes []string
	}
	if err := p.browser.call(ctx, &answer, http.MethodGet, "/exclude", ""); err != nil {
		return fmt.Errorf("%s lists the nodes: %w", p.login, err)
	}
	return errors.Join(differ("GET /exclude user", answer.User, p.id), differ("GET /exclude nodes", answer.Nodes, p.nodes))
}
