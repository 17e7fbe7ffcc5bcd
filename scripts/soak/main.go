// Soak runs everything for long, with real servers on loopback, and looks whether what
// the README promises still holds at the end:
//
//	soak                               three minutes
//	soak -for 30m -kill-every 1m       what a release should stand
//	soak -for 12h -seed 7              a night; the seed of an earlier run repeats its dice
//	soak -flavor valkey-8.1            on another server, which scripts/newer-servers unpacks
//
// A local server with the module, a remote with TLS behind a proxy that fails on demand,
// and the API are under a mixed load, while one fault follows the other: see faults.go.
// Who writes knows what must be there, and looks (value.go, worker.go). At the end the
// faults are taken away, and everything is compared (verify.go); memory, goroutines and
// descriptors must be where they were (flat.go). Ctrl-C ends the load early, and verifies.
//
// The dice can be repeated, the order of threads and the clock cannot.
//
// It finds sponsor.so, sponsor-api and githubtest in its own folder; make soak builds
// them all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something did not hold, or could not be run
	exitUsage  = 2 // the arguments are wrong
)

// options are what a person may choose.
type options struct {
	length    time.Duration // of the load; what comes before and after is not in it
	killEvery time.Duration
	seed      uint64
	flavor    string // empty: the redis-server on the PATH
	sponsors  int
	rate      int // commands a second, all clients together
}

// longestDying is how long a key lives that is to expire soon, in a soak of a minute and
// more.
const longestDying = 1500 * time.Millisecond

func (o options) dying() time.Duration { return min(longestDying, o.length/40) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Whoever is tired of waiting for the end presses Ctrl-C once more; the servers
	// end with this process.
	context.AfterFunc(ctx, stop)
	executable, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(exitFailed)
	}
	code := run(ctx, filepath.Dir(executable), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, with the folder where the builds are. It returns the exit code.
// The end of ctx is a person's wish to stop.
func run(ctx context.Context, build string, args []string, stdout, stderr io.Writer) int {
	o, code, ok := parse(args, stderr)
	if !ok {
		return code
	}
	redis.SetLogger(silent{})
	s := &soak{options: o, build: build, out: stdout}
	if err := s.run(ctx); err != nil {
		fmt.Fprintf(stderr, "soak: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// shortest is the least length that has room for the three windows of flat.go.
const shortest = 5 * time.Second

// parse reads the arguments. If it is not ok, the exit code is code.
func parse(args []string, stderr io.Writer) (o options, code int, ok bool) {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.length, "for", 3*time.Minute, "how `long` the load lasts, such as 30m or 12h")
	flags.DurationVar(&o.killEvery, "kill-every", 30*time.Second, "how often a process is killed by SIGKILL: the local server, the remote and the API in turn")
	flags.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "of the dice; a `number` is chosen and printed if there is none")
	flags.StringVar(&o.flavor, "flavor", "", "`server` to run on, such as redis-8.0 or valkey-8.1 below build/servers; the redis-server on the PATH if there is none")
	flags.IntVar(&o.sponsors, "sponsors", 40, "how many `people` sponsor, beside those of the API")
	flags.IntVar(&o.rate, "rate", 400, "`commands` a second, all clients together")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: soak [-for 30m] [-kill-every 1m] [-seed number] [-flavor server] [-sponsors people] [-rate commands]")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return o, exitOK, false
	case err != nil:
		return o, exitUsage, false
	}
	for _, wrong := range []struct {
		is  bool
		say string
	}{
		{flags.NArg() > 0, fmt.Sprintf("unexpected: %q", flags.Args())},
		{o.length < shortest, fmt.Sprintf("-for must be at least %v", shortest)},
		{o.killEvery < time.Second, "-kill-every must be at least 1s"},
		{o.sponsors < 1 || o.sponsors > 10_000, "-sponsors must be from 1 to 10000"},
		{o.rate < 1 || o.rate > 100_000, "-rate must be from 1 to 100000"},
	} {
		if wrong.is {
			fmt.Fprintln(stderr, "soak:", wrong.say)
			flags.Usage()
			return o, exitUsage, false
		}
	}
	return o, exitOK, true
}
