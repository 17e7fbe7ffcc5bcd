package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// pipe feeds a server with ready-made commands by redis-cli --pipe, and returns
// how long that took.
func pipe(ctx context.Context, commands io.ReadSeeker, wanted int, env []string, args ...string) (time.Duration, error) {
	if _, err := commands.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "redis-cli", append(args, "--pipe")...)
	cmd.Stdin, cmd.Env = commands, append(os.Environ(), env...)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begun)
	if want := fmt.Sprintf("errors: 0, replies: %d", wanted); err == nil && !bytes.Contains(out, []byte(want)) {
		err = fmt.Errorf("it does not say %q", want)
	}
	if err != nil {
		return 0, fmt.Errorf("redis-cli --pipe: %w: %s", err, out)
	}
	return took, nil
}

// pipeLocal fills a server by its unix socket.
func (s *server) pipeLocal(ctx context.Context, commands io.ReadSeeker, wanted int) error {
	_, err := pipe(ctx, commands, wanted, nil, "-s", s.Socket())
	return err
}

// pipeRemote fills a server the way the module takes: by TLS, as the same user.
func (s *server) pipeRemote(ctx context.Context, commands io.ReadSeeker, wanted int) (time.Duration, error) {
	login := s.Login()
	return pipe(ctx, commands, wanted, []string{"REDISCLI_AUTH=" + login.Password},
		"-h", s.Host(), "-p", strconv.Itoa(s.Port()), "--user", login.User, "--tls", "--cacert", s.TLS().CAFile)
}

// benchmark runs redis-benchmark on a server's unix socket, and returns the
// requests a second of each test, by its name.
func (s *server) benchmark(ctx context.Context, args ...string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, "redis-benchmark", append([]string{"-s", s.Socket(), "--csv"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("redis-benchmark: %w: %s", err, stderr.String())
	}
	rates, err := readRates(out)
	if err != nil {
		return nil, fmt.Errorf("redis-benchmark: %w in %q", err, out)
	}
	return rates, nil
}

// readRates reads the output of redis-benchmark --csv: a header, then the name of
// a test, its rate, and more.
func readRates(out []byte) (map[string]float64, error) {
	records, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		return nil, err
	}
	rates := make(map[string]float64)
	for _, record := range records {
		if len(record) < 2 || record[1] == "rps" {
			continue
		}
		if rates[record[0]], err = strconv.ParseFloat(record[1], 64); err != nil {
			return nil, err
		}
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("no rate")
	}
	return rates, nil
}
