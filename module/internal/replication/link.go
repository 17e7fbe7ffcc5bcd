package replication

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// How often the remote is asked whether it is there: regularly while it is, and
// with growing pauses while it is not.
const (
	pingInterval = time.Second
	pingTimeout  = 5 * time.Second
	retryMin     = 50 * time.Millisecond
	retryMax     = 5 * time.Second
)

// How long work that needs the remote goes on trying: before it has begun, when
// somebody waits for an answer, and in the midst of it.
const (
	patienceAtStart     = time.Second
	patienceForSponsors = 10 * time.Second // more than work that has panicked rests
	patience            = 30 * time.Second
)

var errConnecting = errors.New("the first connection to the remote is still being made")

// A link is the connection to the remote, and whether it holds. It may be used
// concurrently.
type link struct {
	opts remote.Options

	mu     sync.Mutex
	client *remote.Client // nil until opts make sense
	err    error          // why the remote cannot be reached; nil: it can
	since  time.Time      // err has not been nil
	ended  error          // why it must not be spoken to any more; nil: it may
	closed bool
}

func newLink(opts remote.Options) *link {
	l := &link{opts: opts, err: errConnecting, since: time.Now()}
	if opts.Host == "" {
		l.err = ErrNoRemote
	}
	return l
}

// get is the client. It may be down; then what is tried with it fails.
func (l *link) get() (*remote.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, context.Canceled
	case l.ended != nil:
		return nil, l.ended
	case l.client == nil:
		return nil, l.err
	}
	return l.client, nil
}

// end has the remote left alone from now on, as if it could not be reached.
func (l *link) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.ended = why, why
}

// down is why the remote could not be reached when it was last tried, or nil.
func (l *link) down() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// up reports whether the remote could be reached when it was last tried.
func (l *link) up() bool { return l.down() == nil }

// hopeful reports whether there is a point in waiting for the remote: it can be reached,
// or could not for a moment only.
func (l *link) hopeful(moment time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil || l.ended == nil && !errors.Is(l.err, ErrNoRemote) && time.Since(l.since) < moment
}

// check asks the remote, and remembers and returns what came of it.
func (l *link) check(ctx context.Context) error {
	client, err := l.open()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, pingTimeout)
		err = client.Ping(ctx)
		cancel()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && err != nil {
		l.since = time.Now()
	}
	l.err = err
	return err
}

func (l *link) open() (*remote.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, context.Canceled
	case l.ended != nil:
		return nil, l.ended
	}
	if l.client == nil {
		// A file that opts name may come to be there later.
		client, err := remote.New(l.opts)
		if err != nil {
			return nil, err
		}
		l.client = client
	}
	return l.client, nil
}

// close ends all connections, so that whoever waits for the remote stops.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.client != nil {
		_ = l.client.Close()
	}
}

// persist calls f until it works, with growing pauses, for as long as patience:
// a connection may be lost, and the next one hold. It returns f's last error.
func persist(ctx context.Context, patience time.Duration, f func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, f() },
		backoff.WithBackOff(retryPauses()), backoff.WithMaxElapsedTime(patience))
	return err
}

func retryPauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = retryMin, retryMax
	return pauses
}

// watchLink keeps the link's state true, and tells people once when it changes.
func (s *session) watchLink() {
	pauses := retryPauses()
	up, told := false, ""
	for s.ctx.Err() == nil {
		err := s.link.check(s.ctx)
		wait := pingInterval
		switch {
		case err == nil:
			if !up {
				s.log.Info("connected to the remote", "addr", s.config.Remote.Addr())
			}
			if !up || !s.sponsors.isKnown() {
				s.sponsors.refresh()
			}
			pauses.Reset()
			up, told = true, ""
		case errors.Is(err, errSuperseded):
			<-s.ctx.Done() // yield has told
		default:
			if up || err.Error() != told {
				s.fail("the remote cannot be reached; trying again until it can", err)
			}
			up, told = false, err.Error()
			wait = pauses.NextBackOff()
		}
		_ = pause(s.ctx, wait)
	}
}
