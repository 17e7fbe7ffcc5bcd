package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// ctl is scripts/sponsorctl with args, in an environment of its own.
func ctl(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs("../scripts/sponsorctl")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), script, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "TZ=UTC"}
	return c
}

// of is sponsorctl about a server, by its socket.
func of(t *testing.T, s *redistest.Server, args ...string) *exec.Cmd {
	t.Helper()
	return ctl(t, append([]string{"-s", s.Socket()}, args...)...)
}

// took is what differs from run to run.
var took = regexp.MustCompile(`(?m)^duration_ms\t\d+$`)

// piped runs c without a terminal.
func piped(t *testing.T, c *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if harmful := strings.IndexFunc(out.String()+errs.String(), func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	}); harmful >= 0 || !utf8.ValidString(out.String()+errs.String()) {
		t.Errorf("%v prints what is not text: %q, %q", c.Args, out.String(), errs.String())
	}
	return took.ReplaceAllString(out.String(), "duration_ms\tN"), errs.String(), code
}

// wantPiped runs c without a terminal, and compares what it prints, and its exit status. The
// standard error must hold all of says, or be empty.
func wantPiped(t *testing.T, c *exec.Cmd, want string, code int, says ...string) {
	t.Helper()
	stdout, stderr, got := piped(t, c)
	if stdout != want {
		t.Errorf("%q prints\n%q\nwant\n%q", c.Args[1:], stdout, want)
	}
	if got != code {
		t.Errorf("%q: exit status %d, want %d (%s)", c.Args[1:], got, code, stderr)
	}
	if len(says) == 0 && stderr != "" {
		t.Errorf("%q says %s", c.Args[1:], stderr)
	}
	for _, part := range says {
		if !strings.Contains(stderr, part) {
			t.Errorf("%q says %q, want %q in it", c.Args[1:], stderr, part)
		}
	}
}

// counts are fields as sponsorctl prints them in a pipe: name, value, name, value.
func counts(fields ...any) string {
	var s strings.Builder
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&s, "%v\t%v\n", fields[i], fields[i+1])
	}
	return s.String()
}

func TestSponsorctlInAPipe(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("SADD", sponsorsKey, "8"), cmd("SADD", "user:7:mnodes", "a", "b"), cmd("HSET", "user:8", "f", "v"), cmd("SET", "user:8:mnodes", "v"))
		p.safe(t)
		wantPiped(t, of(t, p.local, "sync"), counts("sponsors", 2, "keys", 4, "elements", 6, "bytes", 52,
			"skipped", 0, "failed", 0, "duration_ms", "N"), 0)
		wantPiped(t, of(t, p.local, "sync", "USER", "7", "8"), counts("sponsors", 2, "keys", 4, "elements", 6, "bytes", 52,
			"skipped", 0, "failed", 0, "duration_ms", "N"), 0)
		wantPiped(t, of(t, p.local, "sync", "--dry-run", "--prune"), counts("sponsors", 2, "keys", 4, "elements", 6, "bytes", 52,
			"skipped", 0, "failed", 0, "duration_ms", "N", "pruned", 0), 0)
		wantPiped(t, of(t, p.local, "sync", "--no-wait"), "answer\tSYNC started\n", 0)
		wantPiped(t, of(t, p.local, "wait", "20000"), "left\t0\n", 0)
		wantPiped(t, of(t, p.local, "wait"), "left\t0\n", 0)
		wantPiped(t, of(t, p.local, "errors"), "", 0)
		wantPiped(t, of(t, p.local, "retry", "--all"), "retried\t0\n", 0)
		same := counts("checked", 4, "same", 4, "missing_remote", 0, "missing_local", 0, "different", 0, "ttl_differs", 0,
			"away", 0, "busy", 0, "failed", 0, "duration_ms", "N")
		wantPiped(t, of(t, p.local, "verify"), same, 0)

		// Numbers change meanwhile, the names and the order do not.
		lines, err := p.local.CLI(t.Context(), "SPONSOR.STATUS")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i, line := range strings.Split(lines, "\n") {
			if i%2 == 0 {
				names = append(names, line)
			}
		}
		stdout, _, code := piped(t, of(t, p.local, "status"))
		var got []string
		for line := range strings.Lines(stdout) {
			name, _, _ := strings.Cut(line, "\t")
			got = append(got, name)
		}
		if begin := counts("state", "connected", "role", "master", "org", org, "sponsors", 2); code != 0 || !strings.HasPrefix(stdout, begin) || !slices.Equal(got, names) {
			t.Errorf("status prints %q, with %d", stdout, code)
		}
		stdout, _, code = piped(t, of(t, p.local, "status", "--json"))
		var parsed map[string]any
		if err := json.Unmarshal([]byte(stdout), &parsed); err != nil || code != 0 || parsed["state"] != "connected" || parsed["sponsors"] != 2.0 || len(parsed) != len(names) {
			t.Errorf("status --json prints %q, with %d: %v", stdout, code, err)
		}

		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7", "8")
		p.safe(t)
		wantPiped(t, of(t, p.local, "verify"), strings.NewReplacer("checked\t4", "checked\t1", "same\t4", "same\t1", "away\t0", "away\t3").Replace(same), 0)
		wantPiped(t, of(t, p.local, "pull", "USER", "7"), counts("sponsors", 1, "keys", 1, "elements", 2, "bytes", 15, "present", 0, "failed", 0, "duration_ms", "N"), 0)
		wantPiped(t, of(t, p.local, "pull"), counts("sponsors", 2, "keys", 2, "elements", 2, "bytes", 22, "present", 2, "failed", 0, "duration_ms", "N"), 0)

		must(t, p.r, cmd("SREM", "user:7:mnodes", "a"), cmd("DEL", "user:8"), cmd("PEXPIRE", "user:8:mnodes", 100_000_000))
		wantPiped(t, of(t, p.local, "verify"), counts("checked", 4, "same", 1, "missing_remote", 1, "missing_local", 0, "different", 1, "ttl_differs", 1,
			"away", 0, "busy", 0, "failed", 0, "duration_ms", "N")+
			"key\tdifferent\tuser:7:mnodes\nkey\tmissing_remote\tuser:8\nkey\tttl_differs\tuser:8:mnodes\n", 1)
		wantPiped(t, of(t, p.local, "forget", "--yes", "8"), "erased\t2\n", 0)
		wantPiped(t, of(t, p.local, "forget", "7"), "", 2, "--yes")
		if n := exist(t, p.l, "user:7:mnodes"); n != 1 {
			t.Error("forget has not waited for --yes")
		}
	})
}

// odd is an id with all that a terminal, a shell, CSV and redis-cli have a meaning for.
const (
	odd        = "\xff\xc3\xa9\x1b[31m\a\b\t\r\n\x7f '\"\\,$(id)`id`*%s\\x41\",\\"
	oddEscaped = `\xff\xc3\xa9\x1b[31m\a\b\t\r\n\x7f '\"\\,$(id)` + "`id`" + `*%s\\x41\",\\`
)

func TestSponsorctlTakesAnyBytes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		nul := "\x00-n" // no argument can hold this
		must(t, p.l, cmd("SADD", sponsorsKey, odd, nul), cmd("SET", "user:"+odd, 1), cmd("SADD", "user:"+nul+":mnodes", "a"))
		p.safe(t)
		must(t, p.r, cmd("SET", "user:"+nul+":mnodes", "no set"), cmd("SET", "user:"+odd, "another"))
		must(t, p.l, cmd("SADD", "user:"+nul+":mnodes", "b"))
		p.waitForDeadLetters(t, 1)

		stdout, _, code := piped(t, of(t, p.local, "errors"))
		if code != 1 || !regexp.MustCompile(`^user:\\x00-n:mnodes\tsadd [^\t]*WRONGTYPE[^\t]*\t\d{10}\n$`).MatchString(stdout) {
			t.Errorf("errors prints %q, with %d", stdout, code)
		}
		stdout, _, code = piped(t, of(t, p.local, "status", "--json"))
		if code != 1 || !strings.Contains(stdout, `user:\\x00-n:mnodes\": WRONGTYPE`) {
			t.Errorf("status --json prints %q, with %d", stdout, code)
		}
		stdout, _, code = piped(t, of(t, p.local, "verify"))
		if want := "key\tdifferent\tuser:\\x00-n:mnodes\nkey\tdifferent\tuser:" + oddEscaped + "\n"; code != 1 || !strings.HasSuffix(stdout, want) {
			t.Errorf("verify prints %q, with %d; want at the end %q", stdout, code, want)
		}
		must(t, p.r, cmd("DEL", "user:"+nul+":mnodes"))
		wantPiped(t, of(t, p.local, "retry", "user:7"), "retried\t0\n", 1, "1 of the keys")
		wantPiped(t, of(t, p.local, "--escaped", "retry", `user:\x00-n:mnodes`), "retried\t1\n", 0)
		wantPiped(t, of(t, p.local, "wait"), "left\t0\n", 0)
		eventuallyMembers(t, p.r, "user:"+nul+":mnodes", "a", "b")

		must(t, p.r, cmd("DEL", "user:"+odd))
		for _, args := range [][]string{{"sync", "USER", odd}, {"sync", "USER", "--escaped", oddEscaped}} {
			stdout, _, code := piped(t, of(t, p.local, args...))
			if code != 0 || !strings.HasPrefix(stdout, "sponsors\t1\nkeys\t2\n") {
				t.Errorf("%q prints %q, with %d", args, stdout, code)
			}
		}
		wantPiped(t, of(t, p.local, "forget", "--yes", odd), "erased\t1\n", 0)
		wantPiped(t, of(t, p.local, "forget", "--escaped", "--yes", `\x00-n`), "erased\t1\n", 0)
		wantPiped(t, of(t, p.local, "forget", "--yes", "a:"+odd), "", 1, "cannot be the id")
		wantPiped(t, of(t, p.local, "retry", "--", "-"+odd), "retried\t0\n", 1, "1 of the keys")
		wantPiped(t, of(t, p.local, "retry", "--escaped", `a\"`, `b"`), "", 2, "is not escaped")
	})
}

// TestSponsorctlJSON: what redis-cli has quoted becomes what it was. Names of users may hold
// anything but spaces.
func TestSponsorctlJSON(t *testing.T) {
	users := []string{"plain", "é€😀", "\x01\a\b\x1b\"\\\x7f", "\xff\xc3", "\xed\xa0\x80-\xc0\x80-\xf4\x90\x80\x80"}
	conf := []string{blocking}
	for _, user := range users {
		var quoted strings.Builder
		for _, b := range []byte(user) {
			fmt.Fprintf(&quoted, `\x%02x`, b)
		}
		conf = append(conf, `user "`+quoted.String()+`" on nopass ~* +smembers`)
	}
	p := newPair(t, redistest.Flavor{}, conf...)
	redistest.Eventually(t, soon, func() error {
		st, err := status(p.l)
		if got := fmt.Sprint(st["users_without_grant"]); err == nil && strings.Count(got, " ") != len(users)-1 {
			err = fmt.Errorf("users_without_grant = %q", got)
		}
		return err
	})
	stdout, _, _ := piped(t, of(t, p.local, "status", "--json"))
	var parsed map[string]any
	if err := json.Unmarshal([]byte(stdout), &parsed); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	got := strings.Fields(parsed["users_without_grant"].(string))
	for i := range users {
		users[i] = string([]rune(users[i])) // each byte that is no UTF-8 becomes U+FFFD
	}
	slices.Sort(users)
	slices.Sort(got)
	if !slices.Equal(got, users) {
		t.Errorf("users_without_grant = %q, want %q", got, users)
	}
	stdout, _, _ = piped(t, of(t, p.local, "status"))
	if want := `\x01\a\b\x1b\"\\\x7f`; !strings.Contains(stdout, want) {
		t.Errorf("status prints %s, want %s in it", stdout, want)
	}
}

func TestSponsorctlUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"nothing":                 {nil, "sponsorctl [options] status"},
		"unknown command":         {[]string{"frobnicate\x1b"}, "no command"},
		"unknown option":          {[]string{"status", "--x\x1b"}, "unknown option"},
		"another's option":        {[]string{"pull", "--prune"}, "pull has no --prune"},
		"ids without USER":        {[]string{"sync", "7"}, "takes USER and ids"},
		"USER without ids":        {[]string{"verify", "USER"}, "wants the ids"},
		"a word as an id":         {[]string{"sync", "USER", "7", "prune"}, "options begin with --"},
		"retry of nothing":        {[]string{"retry"}, "keys, or --all"},
		"retry of both":           {[]string{"retry", "--all", "k"}, "not both"},
		"forget nobody":           {[]string{"forget", "--yes"}, "one id"},
		"forget two":              {[]string{"forget", "--yes", "7", "8"}, "one id"},
		"wait for a word":         {[]string{"wait", "a[$(id)]"}, "number of milliseconds"},
		"errors of a word":        {[]string{"errors", "x"}, "wants a number"},
		"status of something":     {[]string{"status", "7"}, "takes no 7"},
		"watch for a word":        {[]string{"status", "--watch", "often"}, "number of seconds"},
		"watch all the time":      {[]string{"status", "--watch", "0"}, "number of seconds"},
		"no patience":             {[]string{"status", "--timeout", "0"}, "number of seconds"},
		"no value":                {[]string{"status", "-p"}, "-p wants a value"},
		"a password":              {[]string{"-a", "secret", "status"}, "no password on the command line"},
		"a password in a URI":     {[]string{"-u", "redis://u:secret@h", "status"}, "no name and password in -u"},
		"a user, no password":     {[]string{"--user", "u", "status"}, "--user wants a password"},
		"no terminal to ask":      {[]string{"--askpass", "status"}, "wants a terminal"},
		"no such password file":   {[]string{"--password-file=/nowhere", "status"}, "cannot read"},
		"nobody to ask, no --yes": {[]string{"forget", "7"}, "wants --yes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := ctl(t, test.args...)
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, not even the developer's
			wantPiped(t, c, "", 2, test.says)
		})
	}
	stdout, stderr, code := piped(t, ctl(t, "help"))
	if code != 0 || stderr != "" || !strings.Contains(stdout, "Exit status:") {
		t.Errorf("help prints %q, with %d", stdout, code)
	}
}

func TestSponsorctlCannotAsk(t *testing.T) {
	secret := "se cret\"\\'"
	bare := redistest.New(t, redistest.Config{Name: "without the module", Password: secret})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(c *exec.Cmd, env ...string) *exec.Cmd {
		c.Env = append(c.Env, env...)
		return c
	}
	for _, args := range [][]string{{"status"}, {"sync"}, {"errors"}, {"retry", "--all"}, {"forget", "--yes", "7"}, {"wait"}, {"verify"}} {
		wantPiped(t, with(of(t, bare, args...), "REDISCLI_AUTH=wrong"), "", 3, "WRONGPASS", "check --user")
		wantPiped(t, ctl(t, append([]string{"-h", bare.Host(), "-p", fmt.Sprint(bare.Port()), "--password-file", file}, args...)...), "", 3,
			"has not loaded redis-sponsor", "loadmodule", "MODULE LOAD")
		wantPiped(t, ctl(t, append([]string{"-s", "/nowhere/\x1b"}, args...)...), "", 3, "Could not connect", "-h host -p port")
	}
	wantPiped(t, with(of(t, bare, "status"), "REDIS_CLI=/nowhere/redis-cli"), "", 3, "there is no /nowhere/redis-cli")
	// redis-cli goes on as the default user, who may do everything. We do not.
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("ACL", "SETUSER", "limited", "on", ">"+secret, "~*", "-@all", "+sponsor.status"))
	wantPiped(t, with(of(t, p.local, "--user", "nobody", "forget", "--yes", "7"), "REDISCLI_AUTH=x"), "", 3, "WRONGPASS")
	if n := exist(t, p.l, "user:7:mnodes"); n != 1 {
		t.Error("forget has worked without a login")
	}
	limited := func(args ...string) *exec.Cmd {
		return with(of(t, p.local, append([]string{"--user", "limited"}, args...)...), "REDISCLI_AUTH="+secret)
	}
	for command, args := range map[string][]string{
		"sync": nil, "pull": nil, "verify": nil, "wait": nil, "errors": nil, "retry": {"--all"}, "forget": {"--yes", "7"},
	} {
		wantPiped(t, limited(append([]string{command}, args...)...), "", 3, "NOPERM", "ACL SETUSER <user> +sponsor."+command)
	}
	if _, _, code := piped(t, limited("status")); code != 0 {
		t.Errorf("status: exit status %d, want 0", code)
	}
	// Without the right for STATUS there is no progress, and that is all.
	must(t, p.l, cmd("ACL", "SETUSER", "limited", "-sponsor.status", "+sponsor.wait", "+sponsor.retry"))
	wantPiped(t, limited("status"), "", 3, "NOPERM", "+sponsor.status")
	wantPiped(t, limited("wait"), "left\t0\n", 0)
	wantPiped(t, limited("retry", "--all"), "retried\t0\n", 0)
	must(t, p.l, cmd("ACL", "SETUSER", "default", "resetpass", ">"+secret))
	wantPiped(t, of(t, p.local, "status"), "", 3, "NOAUTH", "REDISCLI_AUTH")
	wantPiped(t, with(of(t, p.local, "errors"), "REDISCLI_AUTH="+secret), "", 0)
}

func TestSponsorctlByTLS(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	args := []string{"-p", fmt.Sprint(remote.Port()), "--tls", "--cacert", remote.TLS().CAFile, "--user", redistest.EnterpriseUser, "--password-file", remote.PasswordFile(), "status"}
	wantPiped(t, ctl(t, args...), "", 3, "has not loaded redis-sponsor")
	wantPiped(t, ctl(t, "-p", fmt.Sprint(remote.Port()), "--tls", "status"), "", 3, "Could not connect", "certificate")
}

func TestSponsorctlRemoteDown(t *testing.T) {
	p, proxy := proxied(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	stdout, _, code := piped(t, of(t, p.local, "status"))
	if code != 1 || !strings.HasPrefix(stdout, "state\tdown\n") || !regexp.MustCompile(`(?m)^last_error\tremote .*nothing listens there`).MatchString(stdout) {
		t.Errorf("status prints %q, with %d", stdout, code)
	}
	wantPiped(t, of(t, p.local, "sync"), "", 1, "SYNC has failed", "\n  nothing listens there")
	wantPiped(t, of(t, p.local, "verify"), "", 2, "VERIFY has failed")
	wantPiped(t, of(t, p.local, "wait", "10"), "left\t1\n", 1)
	term := inTerminal(t, 70, of(t, p.local, "status"))
	term.ends(t, 1)
	for _, part := range []string{"\x1b[31mdown\x1b[m", "1 key, the oldest for", "last error", "-> nothing listens there; is the remote up"} {
		if !strings.Contains(term.output(), part) {
			t.Errorf("status prints %q, want %q in it", term.output(), part)
		}
	}
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.org", ""))
	wantPiped(t, of(t, p.local, "sync"), "", 1, "set sponsor.org")
	if _, _, code := piped(t, of(t, p.local, "status")); code != 1 {
		t.Errorf("status without an organisation: exit status %d, want 1", code)
	}
}

// TestSponsorctlHangs: a server that does not answer any more is not waited for.
func TestSponsorctlHangs(t *testing.T) {
	p, proxy := proxied(t)
	proxy.Silent()
	c := of(t, p.local, "--timeout", "0.2", "sync")
	var stderr strings.Builder
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p.blockedIn(t, "sponsor.sync")
	if err := syscall.Kill(p.local.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantPiped(t, of(t, p.local, "--timeout", "0.1", "status"), "", 3, "not answered within 0.1 s")
	err := c.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(stderr.String(), "the SYNC goes on in the server") {
		t.Errorf("sync: %v, says %q", err, stderr.String())
	}
	if err := syscall.Kill(p.local.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.reconnect(t, proxy)
}

// blockedIn waits until a client is in a command.
func (p *pair) blockedIn(t *testing.T, command string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		list, err := p.l.ClientList(t.Context()).Result()
		if err == nil && !strings.Contains(list, "cmd="+command) {
			err = fmt.Errorf("nobody is in %s", command)
		}
		return err
	})
}

// frames are what was painted on the changing line, one after the other.
func frames(output string) []string { return strings.Split(output, "\r") }

var percents = regexp.MustCompile(`^sync  [█░]+ +(\d+) %  [\d,]+ of 1,501 keys`)

func TestSponsorctlProgress(t *testing.T) {
	p, proxy := proxied(t)
	pipelined(t, p.l, func(yield func(...any)) {
		for _, id := range ids(500) {
			yield("SADD", sponsorsKey, id)
			yield(append([]any{"SADD", "user:" + id + ":mnodes"}, many(10, strings.Repeat("n", 200)+"%d")...)...)
			yield("HSET", "user:"+id, "f", 1)
			yield("HSET", "user_details:"+id, "f", 1)
		}
	})
	p.safe(t)
	proxy.Latency(150 * time.Millisecond)
	term := inTerminal(t, 100, of(t, p.local, "sync"))
	term.ends(t, 0)
	var seen []string
	for _, frame := range frames(term.output()) {
		if m := percents.FindStringSubmatch(frame); m != nil {
			seen = append(seen, m[1])
		}
		if n := len([]rune(strings.TrimSuffix(frame, "\r"))); strings.HasPrefix(frame, "sync ") && !strings.Contains(frame, "\n") && n != 99 {
			t.Errorf("a line of %d characters, want 99: %q", n, frame)
		}
	}
	if len(seen) < 2 {
		t.Errorf("the bar was shown %d times, want some more: %q", len(seen), term.output())
	}
	if want := " 100 %  1,501 keys"; !strings.Contains(term.output(), want) {
		t.Errorf("%q does not end with %q", term.output(), want)
	}
	if want := "Copied 1,501 keys of 500 sponsors to the remote: 6,500 elements"; !strings.Contains(term.output(), want) {
		t.Errorf("%q does not have %q", term.output(), want)
	}
	proxy.Latency(0)
	// A result that goes elsewhere, with the bar on the terminal.
	result := filepath.Join(t.TempDir(), "result")
	term = inTerminal(t, 100, exec.CommandContext(t.Context(), "bash", "-c", `"$0" "$@" >`+result, "../scripts/sponsorctl", "-s", p.local.Socket(), "pull"))
	term.ends(t, 0)
	text, err := os.ReadFile(result)
	if err != nil || !strings.HasPrefix(string(text), counts("sponsors", 500, "keys", 0)) || strings.ContainsAny(string(text), "\x1b\r") {
		t.Errorf("pull >file writes %q, %v", text, err)
	}
	if !strings.Contains(term.output(), " 100 %  1,501 keys") {
		t.Errorf("pull >file shows %q", term.output())
	}
}

func TestSponsorctlCtrlC(t *testing.T) {
	p, proxy := proxied(t)
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "no"), cmd("SADD", "user:7:mnodes", "a"))
	p.sync(t, "USER", "8") // and STATUS tells of that until the next one has begun
	proxy.Silent()
	term := inTerminal(t, 80, of(t, p.local, "sync"))
	p.blockedIn(t, "sponsor.sync")
	term.shows(t, "\rsync  ")
	term.types(t, "\x03")
	term.ends(t, 130)
	term.shows(t, "the SYNC goes on in the server, if it has begun: see sponsorctl status --watch")
	if strings.Contains(term.output(), "100 %") {
		t.Errorf("a SYNC that hangs is shown as %q", term.output())
	}
	p.reconnect(t, proxy)
	eventuallyMembers(t, p.r, "user:7:mnodes", "a")
}

func TestSponsorctlWatch(t *testing.T) {
	p, proxy := proxied(t)
	term := inTerminal(t, 80, of(t, p.local, "status", "--watch", "0.05"))
	before := term.settings(t)
	term.shows(t, "\x1b[?1049h\x1b[?25l\x1b[H", "connected\x1b[m  acme, 2 sponsors, master")
	must(t, p.l, cmd("SADD", sponsorsKey, "9"))
	term.shows(t, "connected\x1b[m  acme, 3 sponsors, master")
	term.resize(t, 40)
	term.shows(t, "nothing: all changes\x1b[K\r\n")
	p.cutOff(t, proxy)
	term.shows(t, "\x1b[31mdown\x1b[m", "-> nothing listens\x1b[m")
	if err := p.local.Stop(); err != nil {
		t.Fatal(err)
	}
	term.shows(t, "no answer", "Could not connect to")
	if err := p.local.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, "down")
	shown := len(term.output())
	redistest.Eventually(t, soon, func() error {
		if !strings.Contains(term.output()[shown:], "\x1b[31mdown\x1b[m") {
			return errors.New("the server is back, and is not shown")
		}
		return nil
	})
	term.types(t, "\x03")
	term.ends(t, 0)
	if !strings.HasSuffix(strings.TrimSuffix(term.output(), "\x05the end"), "\x1b[?25h\x1b[?1049l") {
		t.Errorf("at the end it prints %q", term.output()[len(term.output())-100:])
	}
	if strings.Contains(term.output(), "\x1b[2J") {
		t.Error("it clears the screen, which flickers")
	}
	if after := term.settings(t); after != before {
		t.Errorf("the terminal is left as %v, was %v", after, before)
	}

	for how, end := range map[string]struct {
		code int
		do   func(*terminal)
	}{
		"q":    {0, func(term *terminal) { term.types(t, "q") }},
		"TERM": {143, func(term *terminal) { _ = term.process.Signal(syscall.SIGTERM) }},
	} {
		term = inTerminal(t, 80, of(t, p.local, "status", "--watch=60"))
		term.shows(t, "acme")
		redistest.Eventually(t, soon, func() error {
			if term.settings(t) == before {
				return errors.New("it does not wait for a key yet")
			}
			return nil
		})
		end.do(term)
		term.ends(t, end.code)
		if after := term.settings(t); after != before || !strings.Contains(term.output(), "\x1b[?25h\x1b[?1049l") {
			t.Errorf("%s leaves the terminal as %v, was %v", how, after, before)
		}
	}

	// In a pipe, one after the other.
	for args, between := range map[string]string{"--watch": "\n\nstate\t", "--watch --json": "}\n{"} {
		c := of(t, p.local, append([]string{"status", "0.05"}, strings.Fields(args)...)...)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for buffer := make([]byte, 4096); strings.Count(string(got), between) < 2; {
			n, err := out.Read(buffer)
			if err != nil {
				t.Fatalf("%s prints %q, then %v", args, got, err)
			}
			got = append(got, buffer[:n]...)
		}
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if strings.Contains(string(got), "\x1b") {
			t.Errorf("%s prints %q", args, got)
		}
	}
}

func TestSponsorctlAsksBeforeItForgets(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	for _, typed := range []string{"8\n", "\n", "\x04"} {
		term := inTerminal(t, 80, of(t, p.local, "forget", "7"))
		term.shows(t, "Type the id again: ")
		term.types(t, typed)
		term.ends(t, 1)
		term.shows(t, "nothing was erased")
	}
	if n := exist(t, p.l, "user:7:mnodes"); n != 1 {
		t.Error("it has not waited for the id")
	}
	term := inTerminal(t, 80, of(t, p.local, "forget", "7"))
	term.shows(t, "erases the keys of 7, here and on the remote, for good")
	term.types(t, "7\n")
	term.ends(t, 0)
	term.shows(t, "Erased 1 key, here and on the remote.")
	if n := exist(t, p.l, "user:7:mnodes"); n != 0 {
		t.Error("the key is still here")
	}
}

func TestSponsorctlInATerminal(t *testing.T) {
	secret := "se cret"
	remote := redistest.Remote(t, redistest.Config{})
	p := newLocal(t, remote, redistest.Config{Password: secret, Conf: append(remoteConf(remote, remote.Host(), remote.Port()), writeBehind)})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("SET", "user:7:mnodes", "no set"))
	must(t, p.l, cmd("SADD", "user:7:mnodes", "b"))
	p.waitForDeadLetters(t, 1)

	term := inTerminal(t, 80, of(t, p.local, "--askpass", "status"))
	before := term.settings(t)
	term.shows(t, "Password: ")
	redistest.Eventually(t, soon, func() error {
		if term.settings(t) == before {
			return errors.New("the password would be shown")
		}
		return nil
	})
	term.types(t, secret+"\n")
	term.ends(t, 1)
	term.shows(t, "\x1b[32mconnected\x1b[m", "\x1b[31m1: sponsorctl errors lists them\x1b[m")
	if strings.Contains(term.output(), secret) {
		t.Error("the password is shown")
	}
	for _, test := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"errors"}, 1, []string{"user:7:mnodes", "    sadd \"user:7:mnodes\": WRONGTYPE", "1 change. Send them again: sponsorctl retry"}},
		{[]string{"verify"}, 1, []string{" 100 %  4 keys", "Compared 2 keys in ", "1 the same", "1 different", "  different       user:7:mnodes"}},
		{[]string{"sync"}, 1, []string{"Copied 1 key of 1 sponsor to the remote: ", "1 key refused by the remote"}},
		{[]string{"wait"}, 1, []string{"The remote does not have the changes of 1 key"}},
		{[]string{"status"}, 1, []string{"acme, 1 sponsor, master"}},
		{[]string{"pull"}, 0, []string{"Brought back 0 keys of 1 sponsor", "2 keys here already"}},
		{[]string{"retry", "--all"}, 0, []string{"1 change on the way again"}},
		{[]string{"sync", "--no-wait"}, 0, []string{"SYNC started"}},
	} {
		for _, colours := range []bool{true, false} {
			if len(test.args) > 1 && !colours {
				continue
			}
			c := of(t, p.local, test.args...)
			c.Env = append(c.Env, "REDISCLI_AUTH="+secret)
			if !colours {
				c.Env = append(c.Env, "NO_COLOR=1", "LANG=C", "COLUMNS=60")
			}
			term := inTerminal(t, 200, c)
			term.ends(t, test.code)
			for _, want := range test.want {
				if colours && !strings.Contains(term.output(), want) {
					t.Errorf("%q prints %q, want %q in it", test.args, term.output(), want)
				}
			}
			if !colours && strings.ContainsFunc(term.output(), func(r rune) bool { return r == 0x1b || r > '~' }) {
				t.Errorf("%q prints %q, want plain ASCII", test.args, term.output())
			}
		}
	}
}
