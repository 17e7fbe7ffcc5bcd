package githubtest

import "slices"

// A Maintainer is whose token Config.MaintainerToken is, and what it may see.
type Maintainer struct {
	// Login is the token's owner: at first maintainer-1, or Config.Org if that is
	// a person.
	Login string
	// Administers tells whether the owner administers Config.Org. It means
	// nothing if Config.Org is a person: only that person sees everything then.
	Administers bool
	// Scopes are the token's.
	Scopes []string
}

// SetMaintainer changes the maintainer, creating the account of its login if
// need be. The token stays the same.
func (s *Server) SetMaintainer(change func(*Maintainer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.maintainer
	m.Scopes = slices.Clone(m.Scopes)
	change(&m)
	s.maintainer = m
	if token := s.cfg.MaintainerToken; token != "" {
		s.tokens[token] = grant{account: s.findOrAdd(m.Login), scopes: slices.Clone(m.Scopes)}
	}
}

// addMaintainer creates the accounts that the configuration calls for.
func (s *Server) addMaintainer() {
	login := "maintainer-1"
	if s.cfg.OrgIsUser {
		login = s.cfg.Org
		s.findOrAdd(login)
	}
	if s.cfg.MaintainerToken == "" {
		return
	}
	s.SetMaintainer(func(m *Maintainer) {
		*m = Maintainer{Login: login, Administers: true, Scopes: []string{"read:user", "read:org"}}
	})
}

// administers tells whether a has the say over the sponsored account. The caller
// holds s.mu.
func (s *Server) administers(a *Account) bool {
	if s.cfg.OrgIsUser {
		return a == s.sponsored()
	}
	return s.maintainer.Administers && a == s.find(s.maintainer.Login)
}
