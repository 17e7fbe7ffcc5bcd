package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// defaultPatience is how long a step waits for something that comes by
	// itself. The module tries an unreachable remote every 5 s at least.
	defaultPatience = 15 * time.Second
	// stepTimeout bounds a step as a whole.
	stepTimeout = time.Minute
)

// step is a part of the story. Run does it and returns what it saw, a line
// each; an error says what it saw in place of what should be.
type step struct {
	name, does string
	run        func(*story, context.Context) (saw []string, err error)
}

// steps are the story. Each builds on those before it.
var steps = []step{
	{"start", "two Redis servers, a stand-in for GitHub and the API start", (*story).start},
	{"visitor", "somebody who does not sponsor signs in and excludes a node", (*story).visitorExcludes},
	{"sponsor", "a sponsor signs in and is found to be one", (*story).sponsorSignsIn},
	{"exclude", "the sponsor excludes nodes, lists them, and takes one back", (*story).sponsorExcludes},
	{"follow", "the sponsor's data is on the remote by itself, and nobody else's", (*story).follows},
	{"sync", "SPONSOR.SYNC copies the sponsor's keys to the remote, and no others", (*story).syncs},
	{"lose", "the local server is killed and comes back empty", (*story).loses},
	{"recover", "the module brings back the sponsors, and a sponsor's keys when they are read", (*story).recovers},
	{"return", "the sponsor signs in again and finds the excluded nodes", (*story).sponsorReturns},
	{"outage", "the remote goes down and comes back", (*story).survivesOutage},
	{"become", "the visitor begins to sponsor, and GitHub's webhook tells", (*story).becomes},
	{"forget", "the newcomer deletes everything", (*story).forgets},
	{"stop", "everything stops", (*story).stops},
}

// stepError says which step did not hold, and what it saw.
type stepError struct {
	number int
	name   string
	err    error
}

func (e *stepError) Error() string {
	return fmt.Sprintf("step %d (%s) did not hold: %v", e.number, e.name, e.err)
}

func (e *stepError) Unwrap() error { return e.err }

// story is what the steps have brought about so far.
type story struct {
	cfg config
	out *printer
	// patience bounds a wait for what comes by itself.
	patience time.Duration

	told             int // steps that have begun
	w                *world
	visitor, sponsor *person
}

// tell plays some steps, in order, and ends at the first that does not hold,
// with a *stepError.
func (s *story) tell(ctx context.Context, steps []step) error {
	for _, st := range steps {
		s.told++
		s.out.step(s.told, st.name, st.does)
		saw, err := s.play(ctx, st)
		s.out.saw(saw)
		if err != nil {
			return &stepError{number: s.told, name: st.name, err: err}
		}
	}
	return nil
}

func (s *story) play(ctx context.Context, st step) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return st.run(s, ctx)
}

// abandon stops what is left of the world after a story that broke off.
func (s *story) abandon() {
	if s.w != nil {
		_ = s.w.close() // it is broken anyway
		s.w = nil
	}
}

// eventually waits for what comes by itself.
func (s *story) eventually(ctx context.Context, f func() error) error {
	return eventually(ctx, s.patience, f)
}

func (s *story) start(ctx context.Context) (saw []string, err error) {
	if s.w, err = openWorld(ctx, s.cfg); err != nil {
		return nil, err
	}
	if err := s.connected(ctx); err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("local %s, remote %s (TLS, user %s), API %s", s.w.local.Addr(), s.w.remote.Addr(), s.w.login.user, s.w.url),
		"SPONSOR.STATUS: connected",
	}, nil
}

// connected waits until the module has reached the remote by itself.
func (s *story) connected(ctx context.Context) error {
	return s.eventually(ctx, func() error {
		st, err := s.status(ctx)
		if err != nil {
			return err
		}
		return differ("SPONSOR.STATUS state", st["state"], "connected")
	})
}

// stops ends every process, each of which must have lived until now and end
// well, and makes sure that nothing is left.
func (s *story) stops(ctx context.Context) ([]string, error) {
	w, parts := s.w, s.w.parts
	if err := w.close(); err != nil {
		return nil, err
	}
	for _, p := range parts {
		if !p.hasEnded() {
			return nil, fmt.Errorf("%s still runs", p.name)
		}
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the folder %s is still there: %w", w.dir, err)
	}
	if p, err := s.sponsor.browser.do(ctx, http.MethodGet, "/livez", nil); err == nil {
		return nil, fmt.Errorf("the API still answers: %d", p.status)
	}
	return []string{fmt.Sprintf("%d processes have ended, their folders are gone", len(parts))}, nil
}

// differ returns an error unless got is want. Values are compared as they
// print, which for maps is sorted by key.
func differ(what string, got, want any) error {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return nil
	}
	return fmt.Errorf("%s = %v, want %v", what, got, want)
}

// join writes a list for people.
func join(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " ")
}
