package server

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// maxDelivery is the greatest size of a delivery, in bytes.
const maxDelivery = 1 << 20

// webhookTimeout leaves GitHub, which waits for ten seconds, time for the answer.
const webhookTimeout = 8 * time.Second

// deliveryLifetime is how long a delivery that was dealt with is remembered: GitHub
// lets people repeat those of three days.
const deliveryLifetime = 4 * 24 * time.Hour

var guidPattern = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// handleWebhook hears from GitHub about sponsorships. What it says is a hint: it is
// noted, and if there is a maintainer's token, GitHub is asked what is true.
func (s *Server) handleWebhook(w http.ResponseWriter, r *http.Request) error {
	secrets := s.webhookSecrets.Load()
	if secrets == nil || len(*secrets) == 0 {
		return notFound()
	}
	outcome := "failed"
	defer func() { s.cfg.Metrics.Webhook(outcome) }()
	body, guid, err := readDelivery(r, *secrets)
	if err != nil {
		outcome = "refused"
		return err
	}
	switch r.Header.Get("X-GitHub-Event") {
	case "sponsorship":
	case "ping":
		outcome = "accepted"
		return ok(w, map[string]string{"status": "pong"})
	default:
		outcome = "ignored"
		return ok(w, map[string]string{"status": "ignored", "reason": "only the event sponsorship matters here"})
	}
	key := session.Prefix + "webhook:" + guid
	switch repeated, err := s.cfg.Redis.Exists(r.Context(), key).Result(); {
	case err != nil:
		return err
	case repeated > 0:
		outcome = "repeated"
		return ok(w, map[string]string{"status": "repeated"})
	}
	e, err := github.ParseEvent(body)
	if err != nil {
		outcome = "refused"
		return badRequest("This is no event of a sponsorship.")
	}
	if reason := s.ignored(e); reason != "" {
		outcome = "ignored"
		return ok(w, map[string]string{"status": "ignored", "reason": reason})
	}
	v, err := s.cfg.Sponsors.Hint(r.Context(), e)
	if err != nil {
		return err
	}
	// Only now: what failed shall be repeated.
	if err := s.cfg.Redis.Set(r.Context(), key, "", deliveryLifetime).Err(); err != nil {
		return err
	}
	s.cfg.Log.Info("webhook", "action", e.Action, "id", e.ID, "counts", v.Counts)
	s.cfg.Keeper.Kick()
	outcome = "accepted"
	writeJSON(w, http.StatusAccepted, "application/json", map[string]string{"status": "accepted"})
	return nil
}

// readDelivery returns the body of a delivery that GitHub has signed with
// one of the secrets.
func readDelivery(r *http.Request, secrets []string) (body []byte, guid string, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, "", &problem{Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type", Detail: "Choose application/json as the content type of the webhook at GitHub."}
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		return nil, "", bodyError(err)
	}
	if !github.ValidSignature(single(url.Values(r.Header), "X-Hub-Signature-256"), body, secrets...) {
		return nil, "", &problem{Status: http.StatusUnauthorized, Title: "Wrong signature", Detail: "X-Hub-Signature-256 was not made with the webhook's secret."}
	}
	guid = r.Header.Get("X-GitHub-Delivery")
	if !guidPattern.MatchString(guid) {
		return nil, "", badRequest("X-GitHub-Delivery is missing, or no GUID.")
	}
	return body, guid, nil
}

// ignored says why an event means nothing to us, or is empty.
func (s *Server) ignored(e github.Event) string {
	switch {
	case !strings.EqualFold(e.Sponsorable, s.cfg.Org):
		return "it is about somebody else's sponsors"
	case e.ID == 0:
		// There is nobody to note it of; the list may tell.
		s.cfg.Keeper.Kick()
		return "it names no sponsor"
	default:
		return ""
	}
}
