package redistest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestRemote_AllowsWhatRedisEnterpriseAllows(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		s := redistest.Remote(t, redistest.Config{Flavor: flavor})
		client := s.RemoteClient(func(o *redis.Options) { o.PoolSize = 1 })
		for _, line := range []string{
			"PING", "ECHO x", "HELLO 3", "ACL WHOAMI", "TIME", "DBSIZE", "INFO server", "COMMAND COUNT",
			"CLIENT ID", "CLIENT SETNAME x", "MEMORY USAGE k",
			"SET k v", "GET k", "DEL k", "UNLINK k", "TYPE k", "EXISTS k", "SCAN 0",
			"PEXPIREAT k 9999999999999", "PERSIST k", "PEXPIRETIME k", "TTL k", "RENAME l m",
			"SADD s a b", "SREM s a", "SMEMBERS s", "SSCAN s 0", "SINTERSTORE d s s",
			"HSET h f v", "HDEL h g", "HGETALL h", "RPUSH l a", "ZADD z 1 a", "XADD x 1-1 f v",
			"DUMP s", "COPY s s2", "OBJECT ENCODING s", "EVAL return(1) 0", "SCRIPT EXISTS x", "PUBLISH c m",
			"MULTI", "SADD s c", "EXEC",
		} {
			if line == "RENAME l m" {
				if err := client.RPush(t.Context(), "l", "a").Err(); err != nil {
					t.Fatal(err)
				}
			}
			if err := do(t, client, line); err != nil && !errors.Is(err, redis.Nil) {
				t.Errorf("%s: %v", line, err)
			}
		}
		dump, err := client.Dump(t.Context(), "s").Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.RestoreReplace(t.Context(), "r", 0, dump).Err(); err != nil {
			t.Errorf("RESTORE: %v", err)
		}
		for _, line := range []string{
			"SELECT 1", "SELECT 0", "SWAPDB 0 1", "MOVE k 1", "MIGRATE h 1 k 0 1", "WAIT 0 1",
			"CONFIG GET maxmemory", "CONFIG SET maxmemory 0", "MODULE LIST", "MODULE LOAD x",
			"CLIENT NO-EVICT on", "CLIENT LIST", "CLIENT KILL ID 1", "DEBUG SLEEP 0", "MONITOR",
			"SYNC", "PSYNC x 0", "REPLICAOF NO ONE", "SHUTDOWN", "SAVE", "BGSAVE", "BGREWRITEAOF",
			"LASTSAVE", "ROLE", "ACL LIST", "ACL SETUSER x", "FLUSHALL", "FLUSHDB", "KEYS *",
			"SCRIPT DEBUG NO", "MEMORY PURGE", "LATENCY LATEST", "SLOWLOG GET",
		} {
			if err := do(t, client, line); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("%s: %v, want NOPERM", line, err)
			}
		}
		if got, err := s.Client().Do(t.Context(), "ACL", "WHOAMI").Text(); err != nil || got != "default" {
			t.Errorf("the test's own eyes are %q, %v", got, err)
		}
	})
}

func do(t *testing.T, client *redis.Client, line string) error {
	t.Helper()
	var args []any
	for word := range strings.FieldsSeq(line) {
		args = append(args, word)
	}
	return client.Do(t.Context(), args...).Err()
}

func TestRemote_WantsTLSAndAPassword(t *testing.T) {
	s := redistest.Remote(t, redistest.Config{})
	other, err := redistest.NewTLS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*redis.Options)
		want   string
	}{
		{"all right", func(*redis.Options) {}, ""},
		{"plain", func(o *redis.Options) { o.TLSConfig = nil }, "EOF"},
		{"another authority", func(o *redis.Options) { o.TLSConfig = other.Config() }, x509.UnknownAuthorityError{}.Error()},
		{"another name", func(o *redis.Options) { o.TLSConfig.ServerName = "example.com" }, "not example.com"},
		{"wrong password", func(o *redis.Options) { o.Password = "wrong" }, "WRONGPASS"},
		{"no password", func(o *redis.Options) { o.Username, o.Password = "", "" }, "NOAUTH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := s.RemoteClient(func(o *redis.Options) {
				o.MaxRetries, o.DialerRetries = -1, 1
				test.change(o)
			})
			err := client.Ping(t.Context()).Err()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("PING: %v, want %q", err, test.want)
			}
		})
	}
	password, err := os.ReadFile(s.PasswordFile())
	if err != nil || strings.TrimSpace(string(password)) != s.Login().Password {
		t.Errorf("password file: %v", err)
	}
	if !strings.HasPrefix(s.URL(), "rediss://") {
		t.Errorf("URL = %s", s.URL())
	}
}

func TestNewTLS_NamesItsHosts(t *testing.T) {
	c, err := redistest.NewTLS(t.TempDir(), "redis.example", "127.0.0.7")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"redis.example", "127.0.0.7"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: c.Pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if leaf.VerifyHostname("localhost") == nil {
		t.Error("valid for localhost as well")
	}
}
