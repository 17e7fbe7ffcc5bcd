package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// shortPatience is for stories that wait for what does not come.
const shortPatience = 2 * time.Second

// sabotages break something real just before a step.
var sabotages = []struct {
	step, name string
	do         func(*saboteur)
	want       string // in the story's error
}{
	{"start", "port taken", takePort, "address already in use"},
	{"start", "module not executable", chmodModule, "sponsor.so"},
	{"visitor", "GitHub out of order", gitHubFails("authorize"), "answers 502"},
	{"visitor", "visitor sponsors", sponsoring(visitorLogin, true), "/me sponsor = true, want false"},
	{"sponsor", "GitHub does not say", gitHubFails("graphql"), "/me sponsor = unknown, want true"},
	{"sponsor", "sponsorship ended", sponsoring(sponsorLogin, false), "/me sponsor = false, want true"},
	{"exclude", "API killed", killAPI, "connection refused"},
	{"exclude", "key of another type", onLocal("SET", nodesKey, "x"), "answers 500"},
	{"follow", "write-behind off", onLocal("CONFIG", "SET", "sponsor.write-behind", "no"), "SPONSOR.WAIT: ERR changes are not sent"},
	{"follow", "stranger on the remote", onRemote("SADD", "user:1:mnodes", "x"), "on the remote: keys"},
	{"sync", "remote stopped", stopRemote, "SPONSOR.SYNC"},
	{"sync", "module unloaded", onLocal("MODULE", "UNLOAD", "sponsor"), "unknown command"},
	{"sync", "sponsors wiped", onLocal("DEL", sponsorsKey), "SPONSOR.SYNC sponsors = 0, want 1"},
	{"sync", "visitor in the set of sponsors", onLocal("SADD", sponsorsKey, visitorID), "SPONSOR.SYNC sponsors = 2, want 1"},
	{"sync", "stranger on the remote", onRemote("SADD", "user:1:mnodes", "x"), "on the remote: keys"},
	{"sync", "remote forbids writing", onRemote("ACL", "SETUSER", redistest.EnterpriseUser, "-@write"), "SPONSOR.SYNC failed"},
	{"lose", "local data saved", onLocal("SAVE"), "want no key of a person"},
	{"recover", "sponsors gone from the remote", bothForget(sponsorsKey), "the module does not fetch the sponsors"},
	{"recover", "nodes gone from the remote", onRemote("DEL", nodesKey), "do not come back"},
	{"recover", "read-through off", onLocal("CONFIG", "SET", "sponsor.read-through", "off"), "do not come back"},
	{"recover", "visitor's nodes are here", onLocal("SADD", visitorNodesKey, "x"), "the first read of visitor-1"},
	{"return", "GitHub refuses the code", gitHubFails("exchange"), "sponsor-1 signs in"},
	{"return", "nodes gone from both", bothForget(nodesKey), "GET /exclude nodes"},
	{"outage", "module unloaded", onLocal("MODULE", "UNLOAD", "sponsor"), "should answer with an error that names the remote"},
	{"outage", "password changed", changePassword, "after the remote came back: not within"},
	{"outage", "API killed", killAPI, "connection refused"},
	{"become", "API killed", killAPI, "connection refused"},
	{"become", "remote forbids writing", onRemote("ACL", "SETUSER", redistest.EnterpriseUser, "-@write"), "/me safety = refused, want safe"},
	{"become", "webhook broken", onLocal("SET", sponsorsKey, "x"), "answers 500"},
	{"forget", "remote stopped", loseRemote, "answers 503"},
	{"forget", "module unloaded", onLocal("MODULE", "UNLOAD", "sponsor"), "answers 503"},
	{"stop", "API killed", killAPI, "the API had ended by itself"},
	{"stop", "local server killed", killLocal, "the local Redis had ended by itself"},
}

// TestSabotage expects each story to end at the step before which it was
// sabotaged, and no sooner.
func TestSabotage(t *testing.T) {
	t.Parallel()
	build := buildFolder(t)
	for _, st := range steps {
		covered := false
		for _, sabotage := range sabotages {
			covered = covered || sabotage.step == st.name
		}
		if !covered {
			t.Errorf("nobody sabotages the step %s", st.name)
		}
	}
	for _, sabotage := range sabotages {
		t.Run(sabotage.step+"/"+sabotage.name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(steps, func(st step) bool { return st.name == sabotage.step })
			s := &saboteur{t: t, story: &story{
				cfg: demoConfig(build, readEnvironment(testEnviron())),
				out: newPrinter(newLog(t), nil), patience: defaultPatience,
			}}
			defer s.abandon()
			if err := s.tell(t.Context(), steps[:i]); err != nil {
				t.Fatal(err)
			}
			s.patience = shortPatience
			sabotage.do(s)

			err := s.tell(t.Context(), steps[i:])
			var failed *stepError
			if !errors.As(err, &failed) {
				t.Fatalf("the story ends with error %v, want one of the step %s", err, sabotage.step)
			}
			if failed.name != sabotage.step || failed.number != i+1 {
				t.Errorf("step %d (%s) fails, want %d (%s)", failed.number, failed.name, i+1, sabotage.step)
			}
			if !strings.Contains(err.Error(), sabotage.want) {
				t.Errorf("error = %q, want %q in it", err, sabotage.want)
			}
		})
	}
}

// saboteur breaks what a story runs on.
type saboteur struct {
	t *testing.T
	*story
}

func (s *saboteur) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("the sabotage fails itself: %v", err)
	}
}

// A blank in a command is filled in when the story has got to know its people.
type blank func(*story) string

var (
	sponsorsKey     blank = (*story).sponsorsKey
	nodesKey        blank = func(s *story) string { return keyspace.ExcludedNodesKey(s.sponsor.id) }
	visitorNodesKey blank = func(s *story) string { return keyspace.ExcludedNodesKey(s.visitor.id) }
	visitorID       blank = func(s *story) string { return s.visitor.id }
)

func (s *saboteur) command(c *redis.Client, args []any) {
	s.t.Helper()
	filled := slices.Clone(args)
	for i, arg := range args {
		if fill, ok := arg.(blank); ok {
			filled[i] = fill(s.story)
		}
	}
	s.must(c.Do(s.t.Context(), filled...).Err())
}

// onLocal runs a command on the local server.
func onLocal(args ...any) func(*saboteur) {
	return func(s *saboteur) { s.command(s.w.localDB, args) }
}

// onRemote runs a command on the remote.
func onRemote(args ...any) func(*saboteur) {
	return func(s *saboteur) { s.command(s.w.remoteDB, args) }
}

// bothForget removes a key on both servers.
func bothForget(key blank) func(*saboteur) {
	return func(s *saboteur) {
		// What is still being fetched would come back.
		redistest.Eventually(s.t, defaultPatience, func() error {
			if n, err := s.w.localDB.Exists(s.t.Context(), key(s.story)).Result(); n == 0 {
				return fmt.Errorf("the key is not here (%w)", err)
			}
			return nil
		})
		s.command(s.w.remoteDB, []any{"DEL", key})
		s.command(s.w.localDB, []any{"DEL", key})
	}
}

func takePort(s *saboteur) { s.cfg.listen = takenPort(s.t) }

// chmodModule puts a module into the folder that Redis refuses to load.
func chmodModule(s *saboteur) {
	folder := s.t.TempDir()
	module, err := os.ReadFile(filepath.Join(s.cfg.build, "sponsor.so"))
	s.must(err)
	s.must(os.WriteFile(filepath.Join(folder, "sponsor.so"), module, 0o600))
	for _, name := range []string{"sponsor-api", "githubtest"} {
		s.must(os.Symlink(filepath.Join(s.cfg.build, name), filepath.Join(folder, name)))
	}
	s.cfg.build = folder
}

// gitHubFails has an endpoint of the stand-in answer 502.
func gitHubFails(endpoint string) func(*saboteur) {
	return func(s *saboteur) { s.control("/control/faults/"+endpoint, `{"status":502,"body":"<html></html>"}`) }
}

// sponsoring begins or ends a sponsorship at the stand-in.
func sponsoring(login string, yes bool) func(*saboteur) {
	body := `{"sponsoring":false}`
	if yes {
		body = `{"sponsoring":true}`
	}
	return func(s *saboteur) { s.control("/control/accounts/"+login, body) }
}

func (s *saboteur) control(path, body string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.w.hub+path, strings.NewReader(body))
	s.must(err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	s.must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		s.t.Fatalf("the stand-in answers %s", response.Status)
	}
}

func killAPI(s *saboteur) { s.must(s.w.api.Kill()) }

func killLocal(s *saboteur) {
	s.must(syscall.Kill(s.w.local.PID(), syscall.SIGKILL))
	<-s.w.local.Exited()
}

func stopRemote(s *saboteur) { s.must(s.w.remote.Stop()) }

// loseRemote stops the remote, and waits until the module has noticed.
func loseRemote(s *saboteur) {
	stopRemote(s)
	redistest.Eventually(s.t, defaultPatience, func() error {
		st, err := s.status(s.t.Context())
		if err != nil {
			return err
		}
		return differ("state", st["state"], "down")
	})
}

// changePassword lets the connections go on that the module has.
func changePassword(s *saboteur) {
	s.must(os.WriteFile(s.w.login.passwordFile, []byte("wrong\n"), 0o600))
}
