package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// healthTimeout bounds --health. Redis has a second to answer /readyz.
const healthTimeout = 2 * time.Second

// health asks the server that listens on LISTEN_ADDR whether it is ready, and
// returns the exit code. It is for the health check of an image that holds
// nothing but this program, so it needs no other setting.
func health(ctx context.Context, getenv func(string) string, stderr io.Writer) int {
	r := &reader{getenv: getenv}
	i := slices.IndexFunc(settingsHelp, func(s setting) bool { return s.name == "LISTEN_ADDR" })
	addr := r.listenAddr(r.value(settingsHelp[i]))
	if err := errors.Join(r.faults...); err != nil {
		fmt.Fprintf(stderr, "sponsor-api: the settings need attention (see --help):\n%v\n", err)
		return exitSettings
	}
	if err := ready(ctx, addr); err != nil {
		fmt.Fprintf(stderr, "sponsor-api: not ready: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// ready returns why the server at addr cannot serve, or nil. Where addr names no
// host, or every address, Go dials this machine.
func ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		// By the address, whatever proxy the environment names.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %s", response.Status)
	}
	return nil
}
