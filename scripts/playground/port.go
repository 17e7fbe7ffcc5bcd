package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// The ports that a person finds the API on, the first that is free.
const (
	firstPort = 8080
	lastPort  = 8099
)

// listenAddr returns where the API is to listen, always with a number: it has
// to know its own address before it starts. Call release when it listens.
func listenAddr(ctx context.Context, wanted string) (addr string, release func(), err error) {
	if wanted == "" {
		addr, err = preferredAddr(ctx)
		return addr, func() {}, err
	}
	host, port, err := net.SplitHostPort(wanted)
	if err != nil {
		return "", nil, fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	if port != "0" {
		return wanted, func() {}, nil
	}
	reserved, err := redistest.ReservePort()
	if err != nil {
		return "", nil, err
	}
	return net.JoinHostPort(host, strconv.Itoa(reserved.Number)), reserved.Release, nil
}

func preferredAddr(ctx context.Context) (string, error) {
	var last error
	for port := firstPort; port <= lastPort; port++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("no port from %d to %d is free; set LISTEN_ADDR to another: %w", firstPort, lastPort, last)
}

// publicURL is where a browser on this machine reaches what listens on addr.
func publicURL(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // listenAddr has read it before
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
