package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// remote is where the sponsors' keys go, as the module is told by redis.conf
// and a person by a line for redis-cli.
type remote struct {
	host, port, user       string
	password, passwordFile string // one of them, or none
	tls, clustered         bool
	cacert, serverName     string
}

// readRemote reads REDISENT_*. It makes paths absolute: the server has another
// working folder. The error lists all faults, one a line.
func readRemote(env environment) (*remote, error) {
	r := &remote{
		host: env["REDISENT_HOST"], port: env.or("REDISENT_PORT", "6379"), user: env["REDISENT_USER"],
		password: env["REDISENT_PWD"], serverName: env["REDISENT_SNI"],
	}
	var errs []error
	for name, path := range map[string]*string{"REDISENT_PWD_FILE": &r.passwordFile, "REDISENT_CACERT": &r.cacert} {
		if env[name] == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(env[name]); err != nil {
			errs = append(errs, fmt.Errorf("  %s: %w", name, err))
		}
	}
	for name, yes := range map[string]*bool{"REDISENT_TLS": &r.tls, "REDISENT_CLUSTER": &r.clustered} {
		switch strings.ToLower(env[name]) {
		case "yes", "true", "on", "1":
			*yes = true
		case "no", "false", "off", "0", "":
		default:
			errs = append(errs, fmt.Errorf("  %s: %q is neither yes nor no", name, env[name]))
		}
	}
	return r, errors.Join(errs...)
}

// conf are the lines of redis.conf that tell the module.
func (r *remote) conf() []string {
	return confLines(map[string]string{
		"sponsor.remote-host": r.host, "sponsor.remote-port": r.port, "sponsor.remote-username": r.user,
		"sponsor.remote-password-file": r.passwordFile,
		"sponsor.remote-tls":           yesNo(r.tls), "sponsor.remote-cacert": r.cacert,
		"sponsor.remote-server-name": r.serverName, "sponsor.remote-cluster": yesNo(r.clustered),
	})
}

// confLines writes settings as redis.conf has them, without those that are
// empty.
func confLines(settings map[string]string) []string {
	var lines []string
	for name, value := range settings {
		if value != "" {
			lines = append(lines, name+" "+strconv.Quote(value))
		}
	}
	return lines
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// cli is a line for a shell that runs a command on the remote. It takes the
// password from a file, so that nobody sees it in a list of processes.
func (r *remote) cli(command ...string) string {
	var words []string
	if r.passwordFile != "" {
		words = append(words, `REDISCLI_AUTH="$(cat `+quote(r.passwordFile)+`)"`)
	}
	words = append(words, "redis-cli")
	option := func(name, value string) {
		if value != "" {
			words = append(words, name, quote(value))
		}
	}
	if r.host != "127.0.0.1" {
		option("-h", r.host)
	}
	option("-p", r.port)
	if r.clustered {
		words = append(words, "-c")
	}
	if r.tls {
		words = append(words, "--tls")
		option("--cacert", r.cacert)
		option("--sni", r.serverName)
	}
	option("--user", r.user)
	for _, word := range command {
		words = append(words, quote(word))
	}
	return strings.Join(words, " ")
}

// quote writes a word for a shell.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/:@%+,-]+$`)
