package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ValidSignature tells whether the header X-Hub-Signature-256 of a delivery was
// made with one of the secrets. It takes the same time whatever is wrong with the
// signature.
func ValidSignature(header string, body []byte, secrets ...string) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil || !strings.HasPrefix(header, "sha256=") {
		return false
	}
	valid := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if secret != "" && hmac.Equal(given, mac.Sum(nil)) {
			valid = true
		}
	}
	return valid
}

// What happened to a sponsorship, as GitHub's webhook names it.
const (
	Created             = "created"
	Cancelled           = "cancelled"
	Edited              = "edited" // its privacy
	TierChanged         = "tier_changed"
	PendingCancellation = "pending_cancellation"
	PendingTierChange   = "pending_tier_change"
)

// An Event is what GitHub's webhook says about one sponsorship. No time in it is
// signed, and it may come again at any time: it is a hint.
type Event struct {
	// Action is one of the constants, or one that we do not know.
	Action string
	// Sponsorable is the login of who is sponsored.
	Sponsorable string
	// ID is GitHub's numeric id of the person or organisation that sponsors, or 0 if
	// GitHub does not tell.
	ID int64
	// Since is when the sponsorship began.
	Since time.Time
	// Tier is the one that counts, or for PendingTierChange the one to come; Was is
	// then the one that counts until Effective.
	Tier, Was Tier
	// OneTime and WasOneTime tell whether these are payments that are not repeated.
	OneTime, WasOneTime bool
	// Effective is when what is pending happens, or zero.
	Effective time.Time
}

// ErrNoEvent is a body that is no event of a sponsorship.
var ErrNoEvent = errors.New("no event of a sponsorship")

type eventTier struct {
	Name    string `json:"name"`
	Cents   int    `json:"monthly_price_in_cents"`
	OneTime bool   `json:"is_one_time"`
}

func (t eventTier) tier() Tier { return Tier{Name: t.Name, Cents: t.Cents} }

// ParseEvent reads the body of a delivery of the event sponsorship.
func ParseEvent(body []byte) (Event, error) {
	var p struct {
		Action      string `json:"action"`
		Effective   string `json:"effective_date"`
		Sponsorship *struct {
			CreatedAt   time.Time              `json:"created_at"`
			Sponsorable struct{ Login string } `json:"sponsorable"`
			Sponsor     *struct{ ID int64 }    `json:"sponsor"`
			Tier        eventTier              `json:"tier"`
		} `json:"sponsorship"`
		Changes struct {
			Tier struct{ From eventTier } `json:"tier"`
		} `json:"changes"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, fmt.Errorf("%w: it is no JSON of the right shape", ErrNoEvent)
	}
	if p.Action == "" || p.Sponsorship == nil || p.Sponsorship.Sponsorable.Login == "" {
		return Event{}, fmt.Errorf("%w: action or sponsorship is missing", ErrNoEvent)
	}
	e := Event{
		Action: p.Action, Sponsorable: p.Sponsorship.Sponsorable.Login, Since: p.Sponsorship.CreatedAt,
		Tier: p.Sponsorship.Tier.tier(), Was: p.Changes.Tier.From.tier(), OneTime: p.Sponsorship.Tier.OneTime,
		WasOneTime: p.Changes.Tier.From.OneTime,
	}
	if p.Sponsorship.Sponsor != nil {
		e.ID = p.Sponsorship.Sponsor.ID
	}
	if e.ID < 0 {
		return Event{}, fmt.Errorf("%w: the sponsor's id is negative", ErrNoEvent)
	}
	var err error
	if e.Effective, err = effective(p.Effective); err != nil {
		return Event{}, fmt.Errorf("%w: effective_date is no date", ErrNoEvent)
	}
	return e, nil
}

// effective reads a date, which GitHub writes with a time or without one.
func effective(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}
