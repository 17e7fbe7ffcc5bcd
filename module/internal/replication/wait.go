package replication

import (
	"errors"
	"time"
)

var errNoWriteBehind = errors.New("changes are not sent: set sponsor.write-behind yes")

// following is why changes are not sent, or nil.
func (e *Engine) following() error {
	s, err := e.open()
	switch {
	case err != nil:
		return err
	case s.config.Remote.Host == "":
		return ErrNoRemote
	case !s.config.WriteBehind:
		return errNoWriteBehind
	}
	return nil
}

// A Waiting waits for the changes that were made before it began.
type Waiting struct {
	changes *changes
	waiter  *waiter
}

// Wait begins to wait until the remote has acknowledged every change made up to
// now. It does not wait itself. Call it on the server's main thread.
func (e *Engine) Wait() (Waiting, error) {
	if err := e.following(); err != nil {
		return Waiting{}, err
	}
	return Waiting{e.changes, e.changes.wait()}, nil
}

// Left waits for timeout at most, zero meaning for ever, and returns how many keys'
// changes are not acknowledged: those on their way, and the dead letters, for
// which it does not wait.
func (w Waiting) Left(timeout time.Duration) (int, error) {
	var late <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case err := <-w.waiter.done:
		if err != nil {
			return 0, err
		}
	case <-late:
		w.changes.stop(w.waiter)
	}
	return w.changes.left(w.waiter.upTo), nil
}

// DeadLetters are the changes that the remote has refused, the latest first.
func (e *Engine) DeadLetters() []DeadLetter { return e.changes.deadLetters() }

// Retry sends dead letters of keys again, of all keys if none are named, and
// returns how many. If the local server has the key, all of it is sent.
func (e *Engine) Retry(keys []string) (int, error) {
	if err := e.following(); err != nil {
		return 0, err
	}
	return e.changes.retry(keys), nil
}
