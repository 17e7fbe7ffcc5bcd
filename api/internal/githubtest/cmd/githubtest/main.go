// Githubtest runs the stand-in for GitHub as a process of its own, for trying
// the API out without an account. It listens on loopback addresses only, unless
// it is told that somebody else keeps strangers away.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "githubtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("githubtest", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8081", "loopback address and port to listen on; port 0 takes a free one")
	anywhere := flags.Bool("anywhere", false, "listen on any address: for a container whose port is published on a loopback address")
	org := flags.String("org", "example-org", "login of the organisation that people sponsor")
	id := flags.String("client-id", "local-client", "client id of the application")
	secret := flags.String("client-secret", "local-secret", "client secret of the application")
	callback := flags.String("callback", "http://127.0.0.1:8080/oauth2/callback", "registered callback URL of the application; on a loopback address the port does not matter")
	sponsors := flags.String("sponsors", "sponsor-1,sponsor-2", "logins that sponsor the organisation, separated by commas")
	maintainer := flags.String("maintainer-token", "", "token of the maintainer, who sees every sponsor; empty means there is none")
	hook := flags.String("webhook-url", "", "where the organisation's webhook delivers sponsorship events to; empty means nowhere")
	hookSecret := flags.String("webhook-secret", "", "secret that signs what the webhook delivers; empty means no signature")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := checkWebhook(*hook); err != nil {
		return err
	}
	if !*anywhere {
		if err := checkLoopback(*listen); err != nil {
			return err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	github := githubtest.New(githubtest.Config{
		Org: *org, ClientID: *id, ClientSecret: *secret, Callback: *callback,
		Sponsors:        strings.FieldsFunc(*sponsors, func(r rune) bool { return r == ',' }),
		MaintainerToken: *maintainer,
	})
	github.SetWebhook(*hook, *hookSecret)
	s := &http.Server{Handler: github, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintf(stdout, "stand-in for GitHub at http://%s\n", l.Addr())
	return serve(ctx, s, l)
}

func checkWebhook(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("-webhook-url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("-webhook-url %s: it must begin with http:// or https:// and name a host", address)
	}
	return nil
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("-listen %s: only a loopback address, since anybody could sign in as anybody", addr)
	}
	return nil
}

func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err := s.Close()
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
