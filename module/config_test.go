package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// value is what the setting says now, as CONFIG GET shows it.
func (st setting) value() string {
	switch {
	case st.number != nil:
		return fmt.Sprint(*st.number)
	case st.yes != nil && *st.yes:
		return "yes"
	case st.yes != nil:
		return "no"
	}
	return *st.text
}

func values(s *settings) map[string]string {
	m := make(map[string]string)
	for _, st := range s.list() {
		m[st.name] = st.value()
	}
	return m
}

// environment is a getenv, for what stands in pairs.
func environment(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := pairs[name]
		return value, ok
	}
}

// settingCases has each setting: its variable, its default, two other values
// that it takes, and a value that it refuses with something to do about it.
var settingCases = []struct {
	name, env, unset   string
	one, other         string
	refused, wantError string // refused is empty if every value is taken
}{
	{"org", "SPONSOR_ORG", "", "acme", "other", "a:b", "login"},
	{
		"keys", "SPONSOR_KEYS", "user_details:<id> user:<id> user:<id>:mnodes", "a:<id>", "b:<id> c:<id>:*",
		"graph", "sponsor.keys-unfiltered",
	},
	{"keys-unfiltered", "SPONSOR_KEYS_UNFILTERED", "", "graph", "a:<id>", "*", "begin with something literal"},
	{"remote-host", "REDISENT_HOST", "", "one.example", "other.example", "", ""},
	{"remote-port", "REDISENT_PORT", "6379", "1", "65535", "65536", "from 1 to 65535"},
	{"remote-username", "REDISENT_USER", "", "one", "other", "", ""},
	{"remote-password-file", "REDISENT_PWD_FILE", "", "one.txt", "other.txt", "", ""},
	{"remote-tls", "REDISENT_TLS", "no", "yes", "no", "maybe", "neither yes nor no"},
	{"remote-cacert", "REDISENT_CACERT", "", "one.crt", "other.crt", "", ""},
	{"remote-server-name", "REDISENT_SNI", "", "one.example", "other.example", "", ""},
	{"remote-cluster", "REDISENT_CLUSTER", "no", "yes", "no", "2", "neither yes nor no"},
	{"write-behind", "SPONSOR_WRITE_BEHIND", "yes", "no", "yes", "2", "neither yes nor no"},
	{"read-through", "SPONSOR_READ_THROUGH", "block", "off", "async", "sometimes", "none of block, async, off"},
	{"read-timeout-ms", "", "500", "1", "3600000", "0", "from 1 to 3600000"},
	{"absent-ttl-ms", "", "5000", "0", "3600000", "-1", "from 0 to 3600000"},
	{"on-lapse", "", "keep", "purge", "keep", "delete", "neither keep nor purge"},
	{"buffer-limit-mb", "", "64", "1", "1048576", "0", "from 1 to 1048576"},
}

func TestReadSettingsDefaults(t *testing.T) {
	s, err := readSettings(environment(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := values(&s)
	for _, tt := range settingCases {
		if got[tt.name] != tt.unset {
			t.Errorf("%s = %q, want %q", tt.name, got[tt.name], tt.unset)
		}
		delete(got, tt.name)
	}
	if len(got) != 0 {
		t.Errorf("settings without a case here: %v", got)
	}
	if s.password != "" {
		t.Errorf("password = %q, want none", s.password)
	}
	if _, err := s.config(); err != nil {
		t.Errorf("the defaults make no configuration: %v", err)
	}
}

// TestReadSettingsPrecedence: an argument beats the environment, which beats the
// default; of two arguments the last counts. Each changes its own setting alone.
func TestReadSettingsPrecedence(t *testing.T) {
	for _, tt := range settingCases {
		t.Run(tt.name, func(t *testing.T) {
			check := func(how, want string, env map[string]string, args ...string) {
				t.Helper()
				s, err := readSettings(environment(env), args)
				if err != nil {
					t.Errorf("%s: %v", how, err)
				}
				got := values(&s)
				if got[tt.name] != want {
					t.Errorf("%s: %q, want %q", how, got[tt.name], want)
				}
				for _, other := range settingCases {
					if other.name != tt.name && got[other.name] != other.unset {
						t.Errorf("%s: %s = %q, want its default %q", how, other.name, got[other.name], other.unset)
					}
				}
			}
			check("an argument", tt.one, nil, tt.name, tt.one)
			check("an argument with the whole name", tt.one, nil, "sponsor."+tt.name, tt.one)
			check("an argument in capitals", tt.one, nil, strings.ToUpper("sponsor."+tt.name), tt.one)
			check("two arguments", tt.other, nil, tt.name, tt.one, tt.name, tt.other)
			if tt.env == "" {
				check("an empty variable name", tt.unset, map[string]string{"": tt.one})
				return
			}
			check("the environment", tt.one, map[string]string{tt.env: tt.one})
			check("an empty variable", tt.unset, map[string]string{tt.env: ""})
			check("an argument over the environment", tt.other, map[string]string{tt.env: tt.one}, tt.name, tt.other)
		})
	}
}

func TestReadSettingsBooleans(t *testing.T) {
	for text, want := range map[string]bool{
		"yes": true, "TRUE": true, "On": true, "1": true, "no": false, "False": false, "OFF": false, "0": false,
	} {
		s, err := readSettings(environment(map[string]string{"REDISENT_TLS": text}), []string{"remote-cluster", text})
		if err != nil || s.tls != want || s.cluster != want {
			t.Errorf("%q: tls %v, cluster %v, %v; want %v", text, s.tls, s.cluster, err, want)
		}
	}
}

// TestReadSettingsFaults gives a wrong value for everything that can have one, in
// the environment and as an argument, and wants each told, with what to do.
func TestReadSettingsFaults(t *testing.T) {
	env, args, want := map[string]string{}, []string{}, []string{}
	faults := 3 // those behind the loop
	for _, tt := range settingCases {
		if tt.refused == "" {
			continue
		}
		if tt.env != "" {
			env[tt.env] = tt.refused
			want = append(want, "environment variable "+tt.env+": ", tt.wantError)
			faults++
		}
		args = append(args, tt.name, tt.refused)
		want = append(want, "module argument "+tt.name+": ", tt.wantError)
		faults++
	}
	args = append(args, "colour", "blue", "remote-port", "x", "sponsor.org")
	want = append(want, `"colour": no such setting`, `"x" is not a number`, "module argument sponsor.org: its value is missing")

	s, err := readSettings(environment(env), args)
	if err == nil {
		t.Fatal("every fault was taken")
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in the error:\n%v", part, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != faults {
		t.Errorf("%d faults are told, want %d:\n%v", lines, faults, err)
	}
	got := values(&s)
	for _, tt := range settingCases {
		if got[tt.name] != tt.unset {
			t.Errorf("%s = %q after a refused value, want the default %q", tt.name, got[tt.name], tt.unset)
		}
	}
}

func TestReadSettingsPassword(t *testing.T) {
	const secret = "unlike-anything-else"
	s, err := readSettings(environment(map[string]string{"REDISENT_PWD": secret}), nil)
	if err != nil || s.password != secret {
		t.Errorf("password = %q, %v; want what REDISENT_PWD says", s.password, err)
	}
	for name, value := range values(&s) {
		if strings.Contains(value, secret) {
			t.Errorf("%s shows the password", name)
		}
	}
	_, err = readSettings(environment(map[string]string{"REDISENT_PWD": secret, "REDISENT_PORT": "x"}), []string{"password", "y"})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error = %v, want one without the password", err)
	}
}

func TestReadSettingsToConfig(t *testing.T) {
	s, err := readSettings(environment(map[string]string{"REDISENT_PWD": "secret"}), []string{
		"org", "acme", "keys", "a:<id> b:<id>:*", "keys-unfiltered", "graph", "remote-host", "r.example", "remote-port", "7",
		"remote-username", "u", "remote-password-file", "p", "remote-tls", "yes", "remote-cacert", "c", "remote-server-name", "n",
		"remote-cluster", "yes", "read-through", "off", "read-timeout-ms", "30", "absent-ttl-ms", "70", "buffer-limit-mb", "3",
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %s %+v %+v", c.Org, c.Templates, c.Unfiltered, c.Remote, c.Tuning)
	want := "acme a:<id> b:<id>:* graph {Host:r.example Port:7 Username:u PasswordFile:p Password:secret TLS:true CACert:c " +
		"ServerName:n Cluster:true} {ReadThrough:off ReadTimeout:30ms AbsentTTL:70ms OnLapse:keep BufferLimit:3145728}"
	if got != want {
		t.Errorf("config = %s\nwant     %s", got, want)
	}
	if want := 70 * time.Millisecond; c.AbsentTTL != want {
		t.Errorf("AbsentTTL = %v, want %v", c.AbsentTTL, want)
	}

	s.keys = "<id>"
	if _, err := s.config(); err == nil || !strings.Contains(err.Error(), "sponsor.keys: ") {
		t.Errorf("error = %v, want one that names sponsor.keys", err)
	}
	s.keys, s.keysUnfiltered = "a:<id>", "<id>"
	if _, err := s.config(); err == nil || !strings.Contains(err.Error(), "sponsor.keys-unfiltered: ") {
		t.Errorf("error = %v, want one that names sponsor.keys-unfiltered", err)
	}
}

func TestReadSettingsWarnings(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string // one of each warning
	}{
		{"nothing is set", nil, []string{"SPONSOR_ORG", "REDISENT_HOST"}},
		{"no remote", []string{"org", "acme"}, []string{"REDISENT_HOST"}},
		{"no organisation", []string{"remote-host", "localhost"}, []string{"SPONSOR_ORG"}},
		{"all well, on this machine", []string{"org", "acme", "remote-host", "localhost"}, nil},
		{"all well, on this machine by number", []string{"org", "acme", "remote-host", "127.0.0.2"}, nil},
		{"all well, on this machine by a long number", []string{"org", "acme", "remote-host", "::1"}, nil},
		{"all well, with TLS", []string{"org", "acme", "remote-host", "r.example", "remote-tls", "yes"}, nil},
		{"in clear text", []string{"org", "acme", "remote-host", "10.0.0.7"}, []string{"sponsor.remote-tls yes"}},
		{"in clear text, by a name like ours", []string{"org", "acme", "remote-host", "localhost.example"}, []string{"sponsor.remote-tls yes"}},
		{"several", []string{"remote-host", "r.example"}, []string{"SPONSOR_ORG", "sponsor.remote-tls yes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := readSettings(environment(nil), tt.args)
			if err != nil {
				t.Fatal(err)
			}
			got := s.warnings()
			ok := slices.EqualFunc(got, tt.want, strings.Contains)
			if !ok {
				t.Errorf("warnings = %q, want %q in them", got, tt.want)
			}
		})
	}
}
