package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// The registration of the API as an application of the stand-in.
const (
	clientID     = "playground"
	clientSecret = "nobody-minds" // the stand-in lets anybody in

	webhookSecret = "nobody-minds-either"
)

var standInAddress = regexp.MustCompile(`stand-in for GitHub at (http://\S+)`)

// chooseAddress decides where the API will be, which others are told before it
// starts.
func (w *world) chooseAddress(ctx context.Context) error {
	addr, free, err := listenAddr(ctx, w.cfg.listen)
	if err != nil {
		return err
	}
	w.listen, w.free = addr, sync.OnceFunc(free)
	w.url = publicURL(addr)
	if public := readEnvironment(w.cfg.api)["PUBLIC_URL"]; public != "" {
		w.url = strings.TrimRight(public, "/")
	}
	return nil
}

// startGitHub starts the stand-in for GitHub, unless the real one is used.
func (w *world) startGitHub(ctx context.Context) error {
	if w.cfg.github != nil {
		return nil
	}
	var err error
	w.github, err = startProgram(ctx, "the stand-in for GitHub", w.built("githubtest"), w.dir, []string{
		"-listen", "127.0.0.1:0", "-org", w.cfg.org, "-client-id", clientID, "-client-secret", clientSecret,
		"-callback", w.url + "/oauth2/callback",
		// Not by the public address: that may lead through a proxy.
		"-webhook-url", publicURL(w.listen) + "/webhooks/github", "-webhook-secret", webhookSecret,
	}, nil, func(p *program) error {
		address := standInAddress.FindStringSubmatch(p.Log())
		if address == nil {
			return errors.New("it does not say its address")
		}
		w.hub = address[1]
		return nil
	})
	if err != nil {
		return err
	}
	w.parts = append(w.parts, part{w.github.name, w.github})
	return nil
}

// startAPI starts the API on the addresses of all the others.
func (w *world) startAPI(ctx context.Context) error {
	defer w.free()
	env := slices.Concat(w.cfg.base, []string{
		"SPONSOR_ORG=" + w.cfg.org, "REDIS_ADDR=unix://" + w.socket,
		"LISTEN_ADDR=" + w.listen, "PUBLIC_URL=" + w.url, "ALLOWED_ORIGINS=" + patternOrigin,
	}, w.cfg.api, w.cfg.github) // of two of the same name, the later counts
	if w.github != nil {
		env = append(env, "GITHUB_CLIENT_ID="+clientID, "GITHUB_SECRET="+clientSecret, "GITHUB_URL="+w.hub, "GITHUB_WEBHOOK_SECRET="+webhookSecret)
	}
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	var err error
	w.api, err = startProgram(ctx, "the API", w.built("sponsor-api"), w.dir, nil, env, func(p *program) error {
		// Somebody else may answer on that port.
		if !strings.Contains(p.Log(), `"msg":"serving"`) {
			return errors.New("it does not serve yet")
		}
		response, err := client.Get(publicURL(w.listen) + "/readyz")
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answers %s", response.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.parts = append(w.parts, part{w.api.name, w.api})
	return nil
}
