package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/module"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
)

// A problem is an error as the client may see it (RFC 9457). Everything else
// that went wrong stays in cause, for the log.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`

	retry bool // it may well work in a few seconds
	cause error
}

func (p *problem) Error() string { return fmt.Sprintf("%s: %v", p.Title, p.cause) }
func (p *problem) Unwrap() error { return p.cause }

func badRequest(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: detail}
}

func forbidden(detail string) *problem {
	return &problem{Status: http.StatusForbidden, Title: "Forbidden", Detail: detail}
}

func notFound() *problem {
	return &problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is nothing at this address."}
}

func methodNotAllowed() *problem {
	return &problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "This address does not do that. See the header Allow."}
}

func tooLarge(limit int64) *problem {
	return &problem{Status: http.StatusRequestEntityTooLarge, Title: "Too large", Detail: fmt.Sprintf("A request like this may have %d KiB.", limit>>10)}
}

func signedOut() *problem {
	return &problem{Status: http.StatusUnauthorized, Title: "Not signed in", Detail: "Sign in at / first."}
}

func internal() *problem {
	return &problem{Status: http.StatusInternalServerError, Title: "Internal error", Detail: "That is our fault. It has been logged."}
}

func unavailable(cause error) *problem {
	return &problem{
		Status: http.StatusServiceUnavailable, Title: "Out of order", retry: true, cause: cause,
		Detail: "The database does not answer. Nothing is known to be stored; please try again in a few seconds.",
	}
}

// problemOf turns an error of a handler into what the client sees. What is no
// problem, no fault of GitHub's and no refusal of ours comes from Redis.
func problemOf(err error) *problem {
	var (
		p  *problem
		gh *github.Error
		mb *http.MaxBytesError
		er *module.EraseError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &mb):
		return tooLarge(mb.Limit)
	case errors.As(err, &gh):
		return gitHubProblem(gh)
	case errors.As(err, &er):
		return eraseProblem(er)
	case errors.Is(err, preferences.ErrClosed):
		return &problem{
			Status: http.StatusConflict, Title: "Being erased", retry: true,
			Detail: "Everything of yours is being erased. Please try again in a few seconds.",
		}
	case errors.Is(err, preferences.ErrFull):
		return &problem{
			Status: http.StatusConflict, Title: "Too many nodes",
			Detail: fmt.Sprintf("One person may exclude %d nodes (%d without signing in). Take some back first.",
				preferences.MaxNodes, preferences.MaxVisitorNodes),
		}
	case redis.HasErrorPrefix(err, "WRONGTYPE"), redis.HasErrorPrefix(err, "NOPERM"):
		// Redis is there, and will say the same again.
		return &problem{
			Status: http.StatusInternalServerError, Title: "The database refuses",
			Detail: "The database does not do what it is asked. The operator must look at the log.", cause: err,
		}
	default:
		return unavailable(err)
	}
}

func eraseProblem(err *module.EraseError) *problem {
	p := &problem{Status: http.StatusServiceUnavailable, Title: "Not erased", retry: true, cause: err}
	switch {
	case err.Refused:
		p.Title, p.Detail = "Not erased everywhere", "Your data is erased on this server, and Redis Enterprise refuses to erase it there. The operator must look at SPONSOR.ERRORS, and let it be tried again."
	case err.Begun:
		p.Title, p.Detail = "Not erased everywhere yet", "Your data is being erased on this server, and Redis Enterprise has not confirmed yet that it is gone there. It goes on by itself; try again in a few minutes to be sure."
	case errors.Is(err, module.ErrMissing):
		p.Detail = "Nothing is erased: the part of this server that erases your data on both servers is missing. The operator must load the module sponsor.so into Redis."
	default:
		p.Detail = "Nothing is erased: this server and Redis Enterprise must both be there for that, and one of them cannot be reached now. Please try again later."
	}
	return p
}

func gitHubProblem(err *github.Error) *problem {
	p := &problem{Title: "GitHub sign-in failed", cause: err}
	switch err.Kind {
	case github.BadCode:
		p.Status, p.Detail = http.StatusBadRequest, "GitHub does not accept the code any more. Please sign in again."
	case github.UnverifiedEmail:
		p.Status, p.Detail = http.StatusForbidden, "Your primary e-mail address at GitHub is not verified yet. Please verify it there, then sign in again."
	case github.Misconfigured:
		p.Status, p.Detail = http.StatusBadGateway, "GitHub does not accept this application. Its operator must check GITHUB_CLIENT_ID, GITHUB_SECRET and the callback URL registered at GitHub."
	case github.Timeout:
		p.Status, p.Detail, p.retry = http.StatusGatewayTimeout, "GitHub did not answer in time. Nothing was stored; please sign in again.", true
	case github.RateLimited:
		p.Status, p.Detail, p.retry = http.StatusBadGateway, "GitHub wants us to slow down. Nothing was stored; please sign in again in a minute.", true
	case github.Unavailable:
		p.Status, p.Detail, p.retry = http.StatusBadGateway, "GitHub is out of order. Nothing was stored; please sign in again later.", true
	case github.Nonsense:
		p.Status, p.Detail = http.StatusBadGateway, "GitHub answered something we do not understand. Nothing was stored; please sign in again later."
	}
	return p
}

// retryAfter is what we ask clients to wait, in seconds.
const retryAfter = "5"

// fail answers with an error: a page for browsers, problem+json for programs.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	// A client that went away cancels what was done for it: nobody's fault.
	if p.Status >= 500 && p.cause != nil && !errors.Is(r.Context().Err(), context.Canceled) {
		s.cfg.Log.Error("request failed", "status", p.Status, "error", p.cause)
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Cookie realm="redis-sponsor"`) // RFC 9110 wants one
	}
	if p.retry {
		w.Header().Set("Retry-After", retryAfter)
	}
	if prefersHTML(r) {
		s.render(w, p.Status, "problem.html", p)
		return
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client went away
}

func ok(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, "application/json", v)
	return nil
}
