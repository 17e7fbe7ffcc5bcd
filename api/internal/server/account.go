package server

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// nodesPerPage is how many excluded nodes the account shows at once.
const nodesPerPage = 100

// accountView is what the page of somebody who is signed in shows.
type accountView struct {
	Org string
	me
	// Case names which of the page's texts about the sponsorship is the right one.
	Case   string
	CanAsk bool // GitHub can be asked again without sending them there

	Nodes      []string
	Total, Max int
	Page       int
	Previous   int // zero: there is none
	Next       int

	Notice string // what was just done
	Fault  string // why it was not
	Typed  string // what the form said then
}

// welcomeView is what the page of somebody who is not signed in shows.
type welcomeView struct {
	Org    string
	Nodes  int
	Notice string
}

func (s *Server) handleAccount(w http.ResponseWriter, r *http.Request) error {
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return err
	}
	if !signedIn {
		return s.welcome(w, r)
	}
	view, err := s.account(r, p)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("done") != "erased" { // a link may say so to anybody
		view.Notice = notice(r.URL.Query())
	}
	s.render(w, http.StatusOK, "account.html", view)
	return nil
}

func (s *Server) welcome(w http.ResponseWriter, r *http.Request) error {
	view := welcomeView{Org: s.cfg.Org, Notice: notice(r.URL.Query())}
	if id, ok := s.cfg.Sessions.Visitor(r); ok {
		n, err := s.cfg.Preferences.Count(r.Context(), visitorOwner(id))
		if err != nil {
			return err
		}
		view.Nodes = n
	}
	s.render(w, http.StatusOK, "welcome.html", view)
	return nil
}

func (s *Server) account(r *http.Request, p session.Person) (accountView, error) {
	nodes, err := s.cfg.Preferences.Nodes(r.Context(), preferences.Person(p.ID))
	if err != nil {
		return accountView{}, err
	}
	m, err := s.me(r, p)
	if err != nil {
		return accountView{}, err
	}
	view := accountView{
		Org: s.cfg.Org, me: m, Case: sponsorshipCase(m), CanAsk: s.cfg.GitHub.HasMaintainer(),
		Total: len(nodes), Max: preferences.MaxNodes,
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page")) // 0 is the first page
	view.turn(nodes, page)
	return view, nil
}

// sponsorshipCase tells what there is to say about somebody's sponsorship.
func sponsorshipCase(m me) string {
	st := m.Sponsorship
	counts := m.Sponsor == github.Yes
	switch {
	case counts && st.Answer == github.Unknown:
		return "trusted" // GitHub said so before we kept a record
	case counts && st.Answer == github.No:
		return "grace"
	case counts && !st.Cancels.IsZero():
		return "cancelled"
	case counts && st.OneTime:
		return "once"
	case counts:
		return "sponsor"
	case st.Answer == github.Unknown:
		return "unknown"
	case !st.Ended.IsZero():
		return "ended"
	default:
		return "no"
	}
}

// turn shows the page of nodes with that number, counted from 1.
func (v *accountView) turn(nodes []string, page int) {
	last := max(1, (len(nodes)+nodesPerPage-1)/nodesPerPage)
	v.Page = min(max(page, 1), last)
	v.Nodes = nodes[(v.Page-1)*nodesPerPage : min(v.Page*nodesPerPage, len(nodes))]
	v.Previous = v.Page - 1
	if v.Page < last {
		v.Next = v.Page + 1
	}
}

// notice says what a form did that redirected here.
func notice(q url.Values) string {
	switch {
	case preferences.ValidNode(q.Get("excluded")):
		return q.Get("excluded") + " is excluded."
	case preferences.ValidNode(q.Get("taken-back")):
		return q.Get("taken-back") + " is back in your graph."
	}
	switch q.Get("done") {
	case "asked":
		return "GitHub was asked again."
	case "erased":
		return "Everything is erased, on this server and on Redis Enterprise, and you are signed out everywhere."
	case "signed-out":
		return "You are signed out."
	default:
		return ""
	}
}

// handleAccountExclude serves the form that excludes a node. What is wrong with
// it is said above the form, with what was typed still in it.
func (s *Server) handleAccountExclude(w http.ResponseWriter, r *http.Request) error {
	p, form, err := s.readForm(w, r)
	if err != nil {
		return err
	}
	node := single(form, "id")
	err = badRequest(badNode)
	if preferences.ValidNode(node) {
		err = s.cfg.Preferences.Exclude(r.Context(), preferences.Person(p.ID), node)
	}
	if err == nil {
		done(w, r, "excluded", node)
		return nil
	}
	fault := problemOf(err)
	if fault.Status >= 500 {
		return err
	}
	view, err := s.account(r, p)
	if err != nil {
		return err
	}
	view.Fault, view.Typed = fault.Detail, node
	s.render(w, fault.Status, "account.html", view)
	return nil
}

// handleAccountTakeBack serves the buttons beside the nodes.
func (s *Server) handleAccountTakeBack(w http.ResponseWriter, r *http.Request) error {
	p, form, err := s.readForm(w, r)
	if err != nil {
		return err
	}
	node := single(form, "id")
	if !preferences.ValidNode(node) {
		return badRequest(badNode)
	}
	if err := s.cfg.Preferences.TakeBack(r.Context(), preferences.Person(p.ID), node); err != nil {
		return err
	}
	done(w, r, "taken-back", node)
	return nil
}

// readForm returns who sent a form from our own page, and what is in it.
func (s *Server) readForm(w http.ResponseWriter, r *http.Request) (p session.Person, form url.Values, err error) {
	if p, err = s.mustBeHere(w, r); err != nil {
		return session.Person{}, nil, err
	}
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return session.Person{}, nil, err
		}
		return session.Person{}, nil, badRequest("The form cannot be read.")
	}
	return p, r.PostForm, nil
}

// done sends the browser back to the page, so that reloading does nothing twice.
func done(w http.ResponseWriter, r *http.Request, what, value string) {
	q := url.Values{what: {value}}
	if page := r.PostForm.Get("page"); len(page) < 4 && page != "" {
		q.Set("page", page)
	}
	http.Redirect(w, r, accountPath+"?"+q.Encode(), http.StatusSeeOther)
}
