package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The labels by which Compose, old and new, marks what is its own.
const (
	projectLabel = "com.docker.compose.project="
	serviceLabel = "com.docker.compose.service="
	volumeLabel  = "com.docker.compose.volume="
)

// downTimeout bounds the removal of what a story has left.
const downTimeout = 2 * time.Minute

// compose runs the try-out of compose.yaml in this folder, as a project of its own,
// with ports of its own, beside whatever else runs on this machine.
type compose struct {
	command []string // docker compose, or docker-compose
	env     []string
	project string
	// The ports on this machine's loopback.
	api, github, redis, remote int
	redisPassword              string
}

func newCompose(ctx context.Context, cfg config) (*compose, error) {
	c := &compose{env: cfg.base, command: []string{"docker", "compose"}, redisPassword: rand.Text()}
	if _, err := c.output(ctx, "docker", "version", "--format", "{{.Server.Version}}"); err != nil {
		return nil, fmt.Errorf("is there a container engine? %w", err)
	}
	if _, err := c.output(ctx, "docker", "compose", "version"); err != nil {
		c.command = []string{"docker-compose"}
	}
	ports, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	c.api, c.github, c.redis, c.remote = ports[0], ports[1], ports[2], ports[3]
	number, err := rand.Int(rand.Reader, big.NewInt(100))
	if err != nil {
		return nil, err
	}
	subnet := fmt.Sprintf("10.213.%d.0/24", 100+number.Int64())
	c.project = fmt.Sprintf("redis-sponsor-story-%d", c.api)
	c.env = slices.Concat(c.env, []string{
		"COMPOSE_PROJECT_NAME=" + c.project, "COMPOSE_PROFILES=tryout", "SPONSOR_VERSION=" + cfg.version,
		fmt.Sprintf("API_PORTS=%d-%d:%d-%d", c.api, c.github, c.api, c.github),
		fmt.Sprintf("LISTEN_ADDR=:%d", c.api), fmt.Sprintf("GITHUB_PORT=%d", c.github),
		"PUBLIC_URL=" + local(c.api), "GITHUB_URL=" + local(c.github),
		fmt.Sprintf("REDIS_PORT=%d", c.redis), fmt.Sprintf("REMOTE_PORT=%d", c.remote),
		"REDIS_PWD=" + c.redisPassword, "REDIS_ADDR=redis://:" + c.redisPassword + "@redis:6379",
		"SUBNET=" + subnet, "TRUSTED_PROXIES=" + subnet,
	})
	return c, nil
}

func local(port int) string { return "http://" + loopback(port) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts returns four ports in a row, because the API and the stand-in for
// GitHub are published as a range. Somebody else may take one before we do: then
// the engine says so.
func freePorts(ctx context.Context) ([]int, error) {
	var last error
	for range 100 {
		var ports []int
		if ports, last = tryPorts(ctx); last == nil {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("find free ports: %w", last)
}

func tryPorts(ctx context.Context) (ports []int, err error) {
	port := 0
	for range 4 {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(port))
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, number, _ := net.SplitHostPort(l.Addr().String())
		if port, err = strconv.Atoi(number); err != nil {
			return nil, err
		}
		ports = append(ports, port)
		port++
	}
	return ports, nil
}

// run runs a command of Compose on the project.
func (c *compose) run(ctx context.Context, args ...string) error {
	_, err := c.output(ctx, slices.Concat(c.command, []string{"--env-file", ".env.tryout"}, args)...)
	return err
}

// docker runs a command of the engine and returns what it prints, without white
// space around it.
func (c *compose) docker(ctx context.Context, args ...string) (string, error) {
	return c.output(ctx, append([]string{"docker"}, args...)...)
}

func (c *compose) output(ctx context.Context, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = c.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, tail(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// left lists what there is of the project: containers and volumes.
func (c *compose) left(ctx context.Context) (string, error) {
	var all []string
	for _, list := range [][]string{
		{"ps", "-a", "--filter", "label=" + projectLabel + c.project, "--format", "{{.Names}}"},
		{"volume", "ls", "-q", "--filter", "label=" + projectLabel + c.project},
		{"network", "ls", "--filter", "label=" + projectLabel + c.project, "--format", "{{.Name}}"},
	} {
		names, err := c.docker(ctx, list...)
		if err != nil {
			return "", err
		}
		all = append(all, strings.Fields(names)...)
	}
	return strings.Join(all, " "), nil
}

// down removes all of the project, also after a story that was stopped.
func (c *compose) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	err := c.run(ctx, "down", "--volumes", "--timeout", "5")
	left, listing := c.left(ctx)
	if listing == nil && left != "" {
		listing = fmt.Errorf("still there: %s", left)
	}
	return errors.Join(err, listing)
}
