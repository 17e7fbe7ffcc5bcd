package githubtest

import (
	"fmt"
	"strings"
)

// An Account is somebody who can sign in, or an organisation that sponsors.
type Account struct {
	ID    int64
	Login string
	// Organization is the account of an organisation. It cannot sign in.
	Organization bool
	// Deleted is an account that is gone. It cannot sign in, its tokens are void,
	// and its sponsorship, if there still is one, has no sponsor.
	Deleted bool
	// PublicEmail is the one on the profile; mostly empty.
	PublicEmail string
	// Emails is what /user/emails answers.
	Emails []Email
	// Sponsorship is that of Config.Org; nil means none ever.
	Sponsorship *Sponsorship
}

// Email is one address of an account.
type Email struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// Account returns a copy of the account with that login, and whether there is
// one.
func (s *Server) Account(login string) (Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(login); a != nil {
		return *a, true
	}
	return Account{}, false
}

// Update changes the account with that login, creating it if need be. It sends
// no webhook.
func (s *Server) Update(login string, change func(*Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.findOrAdd(login))
}

// find returns the account with that login, or nil. The caller holds s.mu.
func (s *Server) find(login string) *Account {
	for _, a := range s.accounts {
		if strings.EqualFold(a.Login, login) {
			return a
		}
	}
	return nil
}

// findOrAdd is find, but creates the account that is missing.
func (s *Server) findOrAdd(login string) *Account {
	if a := s.find(login); a != nil {
		return a
	}
	return s.addAccount(login)
}

// firstID is the id of the first account. Real ids have up to nine digits.
const firstID = 9_000_001

// addAccount creates an account with a private, verified address. The caller
// holds s.mu, or is New.
func (s *Server) addAccount(login string) *Account {
	a := &Account{
		ID:    firstID + int64(len(s.accounts)),
		Login: login,
		Emails: []Email{
			{Email: "old-" + login + "@example.org", Verified: true},
			{Email: login + "@example.org", Primary: true, Verified: true},
		},
	}
	s.accounts = append(s.accounts, a)
	return a
}

// sponsored is the account that people sponsor. Of an organisation it is one
// that is not among the accounts. The caller holds s.mu.
func (s *Server) sponsored() *Account {
	if s.cfg.OrgIsUser {
		return s.findOrAdd(s.cfg.Org)
	}
	return &Account{ID: 1, Login: s.cfg.Org, Organization: true}
}

// typename is the account's type, in GraphQL and in webhooks.
func (a *Account) typename() string {
	if a.Organization {
		return "Organization"
	}
	return "User"
}

// nodeID is the account's id in GraphQL.
func (a *Account) nodeID() string {
	return fmt.Sprintf("%.1s_%d", a.typename(), a.ID)
}
