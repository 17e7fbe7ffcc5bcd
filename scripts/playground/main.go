// Playground shows what the project is for, with real processes on loopback:
// a local Redis with the module, a second Redis with TLS and a password that
// stands in for Redis Enterprise, a stand-in for GitHub, and the API.
//
//	playground run    start everything, say where it is, wait for Ctrl-C
//	playground demo   play the whole story without a person, and check it
//
// And in containers, as compose.yaml has them:
//
//	playground containers                 play the story there
//	playground remote-files FOLDER HOST   make what the stand-in for Redis
//	                                      Enterprise needs in its container
//
// It finds what it starts in its own folder; make run and make demo build it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something did not start, ended early, or did not hold
	exitUsage  = 2 // the arguments or the settings are wrong
)

const usage = `usage: playground run|demo|containers
       playground remote-files FOLDER HOST

  run         start everything on loopback, and wait for Ctrl-C
  demo        play the whole story step by step; exits 0 only if every step held
  containers  the same with the containers of compose.yaml in this folder, of
              images that are there; wants docker, and docker compose or
              docker-compose
  remote-files
              write into FOLDER the redis.conf, the certificates and the
              passwords of a stand-in for Redis Enterprise that is found as HOST;
              does nothing if they are there

Environment:
  LISTEN_ADDR       where the API listens; run takes 127.0.0.1:8080, or the
                    next port that is free, demo takes any
  SPONSOR_ORG       whose sponsors; default example-org
  REDISENT_HOST     run uses this remote in place of the stand-in, with
                    REDISENT_PORT, _USER, _PWD or _PWD_FILE, _TLS, _CACERT,
                    _SNI and _CLUSTER
  GITHUB_CLIENT_ID  run uses the real GitHub in place of the stand-in, with
                    GITHUB_SECRET or GITHUB_SECRET_FILE, and SPONSOR_ORG
  PUBLIC_URL, ALLOWED_ORIGINS, SESSION_KEYS
                    run hands them to the API as they are
  SPONSOR_VERSION   containers uses images with this tag; default latest
  NO_COLOR          no colours, in a terminal either
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Whoever is tired of waiting for the end presses Ctrl-C once more.
	context.AfterFunc(ctx, stop)
	executable, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(exitFailed)
	}
	code := run(ctx, filepath.Dir(executable), os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, with the folder where the builds are. It returns the
// exit code. The end of ctx is a person's wish to stop.
func run(ctx context.Context, build string, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "remote-files" && len(args) != 3 || args[0] != "remote-files" && len(args) != 1 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	env := readEnvironment(environ)
	out := newPrinter(stdout, env)
	var err error
	switch args[0] {
	case "run":
		var cfg config
		if cfg, err = readConfig(build, env); err != nil {
			fmt.Fprintf(stderr, "playground: the settings need attention:\n%v\n", err)
			return exitUsage
		}
		err = serve(ctx, cfg, out)
	case "demo":
		err = demo(ctx, demoConfig(build, env), steps, out)
	case "containers":
		err = demo(ctx, containersConfig(build, env), containerSteps, out)
	case "remote-files":
		err = writeRemoteFiles(args[1], args[2])
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "playground: there is no %q\n%s", args[0], usage)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "playground: %v\n", err)
		return exitFailed
	}
	return exitOK
}
