package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// The registration of the API as an application of the stand-in for GitHub.
const (
	clientID     = "bench"
	clientSecret = "nobody-minds" // the stand-in lets anybody in
)

// pageOrigin is the one of a page that may use the API.
const pageOrigin = "https://graph.example.org"

var (
	standInReady = regexp.MustCompile(`stand-in for GitHub at (http://\S+)`)
	apiReady     = regexp.MustCompile(`"msg":"serving"`)
)

// startAPI starts the API on the local server, with a stand-in for GitHub where so many
// people sponsor, whose logins are login(0) and so on. It returns the API's address,
// host:port.
func (l *lab) startAPI(ctx context.Context, local *server, people int) (string, error) {
	port, err := redistest.ReservePort()
	if err != nil {
		return "", err
	}
	defer port.Release() // the API has it by then
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port.Number))
	url := "http://" + addr

	logins := make([]string, people)
	for i := range logins {
		logins[i] = login(i)
	}
	standIn, err := l.startProgram(ctx, "githubtest", []string{
		"-listen", "127.0.0.1:0", "-org", org, "-client-id", clientID, "-client-secret", clientSecret,
		"-callback", url + "/oauth2/callback", "-sponsors", strings.Join(logins, ","),
	}, nil, standInReady)
	if err != nil {
		return "", err
	}
	_, err = l.startProgram(ctx, "sponsor-api", nil, []string{
		"GITHUB_CLIENT_ID=" + clientID, "GITHUB_SECRET=" + clientSecret, "GITHUB_URL=" + standIn[1],
		"SPONSOR_ORG=" + org, "REDIS_ADDR=" + local.Addr(),
		"LISTEN_ADDR=" + addr, "PUBLIC_URL=" + url, "ALLOWED_ORIGINS=" + pageOrigin,
		// The limits, in requests a minute, do their work, but nobody reaches them: people
		// count one by one only if we are a proxy that may tell where they come from.
		"LIMIT_PER_ADDRESS=100000", "LIMIT_PER_PERSON=100000", "TRUSTED_PROXIES=127.0.0.0/8",
	}, apiReady)
	return addr, err
}

// login is the one of the person with that number.
func login(number int) string { return fmt.Sprintf("person-%d", number) }

// address is where a proxy in front of the API says that the person with that number
// comes from.
func address(number int) string { return fmt.Sprintf("10.0.0.%d", number+1) }
