package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"
)

// secretsEvery is how often the files with secrets are read. SIGHUP reads them at
// once.
const secretsEvery = time.Minute

// watchSecrets puts secrets to use that were replaced in their files, until ctx
// ends.
func (m *Main) watchSecrets(ctx context.Context) {
	if m.ReadAgain == nil {
		return
	}
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	every := time.NewTicker(secretsEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangUp:
			m.Rotate()
		case <-every.C:
			m.Rotate()
		}
	}
}

// Rotate reads the secrets again, and uses those that have changed from now on. With
// a fault in any setting all stay as they are. It may be called from one goroutine at
// a time.
func (m *Main) Rotate() {
	settings, err := m.ReadAgain()
	if err != nil {
		m.log.Error("the secrets cannot be read again; the old ones stay", "error", err)
		return
	}
	before, after := m.secrets.Load(), settings.Secrets
	if before.MadeUpKey && after.MadeUpKey {
		after.SessionKeys = before.SessionKeys
	}
	if reflect.DeepEqual(*before, after) {
		return
	}
	if err := m.cookies.Rotate(after.SessionKeys...); err != nil {
		m.log.Error("the secrets cannot be used; the old ones stay", "error", err)
		return
	}
	m.github.Rotate(after.GitHub)
	m.api.SetWebhookSecrets(after.WebhookSecrets)
	m.secrets.Store(&after)
	m.keeper.Kick() // there may be a maintainer's token now
	m.log.Info("secrets were replaced")
}
