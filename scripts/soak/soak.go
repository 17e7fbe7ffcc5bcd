package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A soak is one run of the program.
type soak struct {
	options
	build string
	out   io.Writer

	world   *world
	workers []*worker
	readers []*reader
	faults  *faults
	sampler *sampler
	begun   time.Time

	growths  [2][]growth // young against young, and young against old
	verdict  string      // of the last SPONSOR.VERIFY
	compared int         // keys with the model, on either side
	onRemote int

	// loaded, if it is set, is called when the load begins.
	loaded func()
	// sabotage, if it is set, is called when all has gone well, before the end is verified: a test
	// shows by it that faults are found.
	sabotage func(ctx context.Context, w *world) error
}

// clients is how many workers there are, each with some of the people.
const clients = 8

// errDiffers is the error of a soak that ran, and in which something did not hold.
var errDiffers = errors.New("not everything has held")

// run is the soak, from the start of the processes to their end. The end of ctx ends the
// load.
func (s *soak) run(ctx context.Context) (err error) {
	s.out = &lines{out: s.out}
	fmt.Fprintf(s.out, "soak for %v, a kill every %v, %d sponsors, %d commands/s, seed %d\n",
		s.length, s.killEvery, s.sponsors, s.rate, s.seed)
	// What the processes are stopped by is not the end of ctx.
	steady := context.WithoutCancel(ctx)
	s.world, err = startWorld(steady, s.build, s.flavor)
	defer func() {
		err = errors.Join(err, s.world.close(err != nil))
		if err != nil && s.world.dir != "" {
			err = fmt.Errorf("%w\nlogs and data are kept in %s", err, s.world.dir)
		}
	}()
	s.world.out = s.out
	if err == nil {
		err = s.prepare(steady)
	}
	if err != nil {
		return err
	}
	s.begun = time.Now()
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	var load, watching sync.WaitGroup
	s.startLoad(loading, &load)
	if s.loaded != nil {
		s.loaded()
	}
	watched, stopWatching := context.WithCancel(steady)
	defer watching.Wait()
	defer stopWatching()
	watching.Go(func() { s.sampler.run(watched) })
	watching.Go(func() { s.progress(watched) })
	failed := s.schedule(ctx, steady)
	stopLoad()
	load.Wait()
	if ctx.Err() != nil {
		fmt.Fprintln(s.out, "stopped; now everything is verified")
	}
	if failed != nil {
		// The world is in no state to be verified in.
		s.world.wrong("%v", failed)
	} else {
		s.verify(steady)
	}
	stopWatching()
	watching.Wait()
	s.examineLogs()
	if !s.report(ctx.Err() == nil) {
		return errDiffers
	}
	return nil
}

// lines may be written by several goroutines.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// schedule is what happens to the world, until the time is over or ctx ends: see flat.go.
func (s *soak) schedule(ctx, steady context.Context) error {
	end := s.begun.Add(s.length)
	l := lapsOf(s.length)
	lasts := l.lap + l.look
	var windows []window
	for _, part := range []struct {
		until time.Duration // since the beginning, when the faults pause
		spare bool
		name  string
		young bool
	}{
		{s.length * 3 / 20, false, "young, early", true},
		{s.length * 3 / 5, false, "young, late", true},
		{s.length - lasts, true, "old, late", false},
	} {
		until := s.begun.Add(part.until)
		if until.After(end) {
			until = end
		}
		faulty, stop := context.WithDeadline(ctx, until)
		err := s.faults.run(faulty, part.spare)
		stop()
		if err != nil || ctx.Err() != nil {
			return err
		}
		w, err := s.watch(steady, part.name, part.young)
		if err != nil {
			return err
		}
		windows = append(windows, w)
	}
	s.growths = [2][]growth{compare(windows[0], windows[1]), compare(windows[1], windows[2])}
	return nil
}

// prepare starts the API, and makes the people and their clients.
func (s *soak) prepare(ctx context.Context) error {
	w := s.world
	var logins []string
	for i := range readers {
		logins = append(logins, readerLogin(i))
	}
	if err := w.startAPI(ctx, logins); err != nil {
		return err
	}
	s.faults = newFaults(w, s.options)
	s.sampler = &sampler{w: w, every: min(2*time.Second, s.length/40)}
	if err := w.local.db.SAdd(ctx, sponsorsKey, s.faults.outsideID).Err(); err != nil {
		return err
	}
	s.workers = nil
	for i := range min(clients, s.sponsors) {
		s.workers = append(s.workers, &worker{w: w, db: w.client(), dice: newDice(s.options, uint64(i+1))})
	}
	for i := range s.sponsors {
		p := newPerson(fmt.Sprintf("%d", 1000+i))
		worker := s.workers[i%len(s.workers)]
		p.large = i < 2
		p.moves = !p.large && len(worker.people)%4 == 3
		worker.people = append(worker.people, p)
		if err := w.local.db.SAdd(ctx, sponsorsKey, p.id).Err(); err != nil {
			return err
		}
	}
	for i := range readers {
		r := &reader{w: w, db: w.client(), dice: newDice(s.options, uint64(1000+i)), login: readerLogin(i)}
		s.readers = append(s.readers, r)
		r.signIn(ctx)
		if r.browser == nil {
			return fmt.Errorf("%s cannot sign in", r.login)
		}
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	return w.safe(ctx)
}

// startLoad starts all clients. A twentieth of the commands goes by the API, and a
// quarter has nothing to do with sponsors.
func (s *soak) startLoad(ctx context.Context, load *sync.WaitGroup) {
	each := func(share float64, clients int) time.Duration {
		return time.Duration(float64(time.Second) * float64(clients) / (share * float64(s.rate)))
	}
	for _, k := range s.workers {
		load.Go(func() { k.work(ctx, each(0.7, len(s.workers))) })
	}
	for _, r := range s.readers {
		load.Go(func() { r.read(ctx, each(0.05, len(s.readers))) })
	}
	const batch = 10
	u := &unrelated{w: s.world, db: s.world.client(), dice: newDice(s.options, 2000)}
	load.Go(func() { u.rush(ctx, each(0.25, batch), batch) })
}
