package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// The rights that OPERATIONS.md gives the module's user on the remote are enough for
// everything that it does there, on values of every type.
func TestRights_OnTheRemote(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		t.Parallel()
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		r := remote.Client()
		rule := documentedRule(t, "sponsor")
		check(t, r.Do(t.Context(), append([]any{"ACL", "SETUSER", "documented"}, rule...)...).Err())
		passwordFile := filepath.Join(t.TempDir(), "password")
		check(t, os.WriteFile(passwordFile, []byte("the-password"), 0o600))
		conf := append(remoteConf(remote, remote.Host(), remote.Port()), writeBehind, blocking)
		for i, line := range conf {
			switch {
			case strings.HasPrefix(line, "sponsor.remote-username"):
				conf[i] = "sponsor.remote-username documented"
			case strings.HasPrefix(line, "sponsor.remote-password-file"):
				conf[i] = "sponsor.remote-password-file " + passwordFile
			}
		}
		p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: conf})
		p.waitFor(t, "connected")
		ctx := t.Context()
		check(t, p.l.ConfigSet(ctx, "sponsor.keys", "user:<id>:* user_details:<id>").Err())
		p.waitFor(t, "connected")
		check(t, p.l.SAdd(ctx, sponsorsKey, "1", "2").Err())
		must(t, p.l, []any{"SADD", "user:1:mnodes", "a", "b"}, []any{"SREM", "user:1:mnodes", "a"},
			[]any{"HSET", "user_details:1", "id", "1", "email", "x"}, []any{"HDEL", "user_details:1", "email"},
			[]any{"SET", "user:1:text", strings.Repeat("x", 1<<20)}, []any{"RPUSH", "user:1:list", "a", "b"},
			[]any{"ZADD", "user:1:scores", "1", "a"}, []any{"ZREM", "user:1:scores", "a"}, []any{"ZADD", "user:1:scores", "2", "b"},
			[]any{"XADD", "user:1:stream", "*", "a", "b"}, []any{"XGROUP", "CREATE", "user:1:stream", "g", "0"},
			[]any{"PEXPIRE", "user:1:mnodes", "1000000"}, []any{"PERSIST", "user:1:mnodes"},
			[]any{"SADD", "user:2:mnodes", "a"}, []any{"DEL", "user:2:mnodes"}, []any{"SET", "user:2:x", "1"}, []any{"RENAME", "user:2:x", "user:2:y"})
		for _, command := range [][]any{
			{"SPONSOR.WAIT", "10000"}, {"SPONSOR.SYNC"}, {"SPONSOR.SYNC", "PRUNE"}, {"SPONSOR.VERIFY"}, {"SPONSOR.PULL"}, {"SPONSOR.FORGET", "2"},
		} {
			reply, err := p.l.Do(ctx, command...).Result()
			if err != nil {
				t.Fatalf("%v: %v", command, err)
			}
			if m := fields(reply); m["failed"] != nil && m["failed"] != int64(0) || m["checked"] != m["same"] {
				t.Errorf("%v = %v", command, m)
			}
		}
		if letters := p.l.Do(ctx, "SPONSOR.ERRORS").Val(); fmt.Sprint(letters) != "[]" {
			t.Errorf("dead letters %v", letters)
		}
		if n := statusInt(t, p.l, "errors"); n != 0 {
			t.Errorf("%d errors", n)
		}
	})
}

// documentedRule is the rule of a user in OPERATIONS.md.
func documentedRule(t *testing.T, user string) []any {
	t.Helper()
	handbook, err := os.ReadFile("../scripts/OPERATIONS.md")
	check(t, err)
	line := regexp.MustCompile(`(?m)^ACL SETUSER ` + user + ` (on .*)$`).FindSubmatch(handbook)
	if line == nil {
		t.Fatalf("OPERATIONS.md has no rule of %s", user)
	}
	rule := strings.NewReplacer("<org>", org, "<password>", "the-password").Replace(string(line[1]))
	var args []any
	for word := range strings.FieldsSeq(rule) {
		args = append(args, word)
	}
	return args
}
