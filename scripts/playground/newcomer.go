package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// becomes lets the visitor begin to sponsor, of which GitHub's webhook tells.
func (s *story) becomes(ctx context.Context) (saw []string, err error) {
	// Sessions are on the local server only, which has lost them.
	if s.visitor, err = s.signIn(ctx, visitorLogin, false); err != nil {
		return nil, err
	}
	p := s.visitor
	if err := s.excludeAsPattern(ctx, p, "C0000039"); err != nil {
		return nil, err
	}
	if err := s.sponsorAtGitHub(ctx, p.login); err != nil {
		return nil, err
	}
	err = s.eventually(ctx, func() error {
		var m me
		if err := p.browser.call(ctx, &m, http.MethodGet, "/me", ""); err != nil {
			return err
		}
		if m.Sponsor == nil {
			return errors.New("/me sponsor is unknown")
		}
		return errors.Join(differ("/me sponsor", *m.Sponsor, true), differ("/me safety", m.Safety.State, "safe"))
	})
	if err != nil {
		return nil, err
	}
	if err := has(ctx, s.w.remoteDB, p); err != nil {
		return nil, fmt.Errorf("on the remote: %w", err)
	}
	return []string{"GitHub's webhook tells it, /me says sponsor true and that the data is safe, and the remote has it"}, nil
}

// sponsorAtGitHub begins a sponsorship at the stand-in, which delivers the event
// before it answers.
func (s *story) sponsorAtGitHub(ctx context.Context, login string) error {
	answer, err := s.visitor.browser.do(ctx, http.MethodPut, s.w.hub+"/control/accounts/"+login,
		strings.NewReader(`{"sponsoring":true}`), "Content-Type", "application/json")
	if err != nil {
		return err
	}
	return answer.is(http.StatusNoContent)
}

// forgets lets the newcomer delete everything.
func (s *story) forgets(ctx context.Context) ([]string, error) {
	p := s.visitor
	var answer struct{ Status string }
	if err := p.browser.call(ctx, &answer, http.MethodDelete, "/me", ""); err != nil {
		return nil, err
	}
	if err := differ("DELETE /me status", answer.Status, "erased"); err != nil {
		return nil, err
	}
	if err := missed(ctx, s.w.localDB, p); err != nil {
		return nil, fmt.Errorf("on the local server: %w", err)
	}
	if err := missed(ctx, s.w.remoteDB, p); err != nil {
		return nil, fmt.Errorf("on the remote: %w", err)
	}
	return []string{"DELETE /me answers that everything is erased, and neither server has anything of " + p.login}, nil
}
