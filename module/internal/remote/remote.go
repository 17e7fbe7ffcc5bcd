// Package remote speaks to Redis Enterprise, or to any other Redis that keeps
// the sponsors' keys. It knows how to get a connection and what went wrong with
// one; what is said over it is the caller's business.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// connections is how many a Client opens at most: more than the pipelines that
// write and those that read together, so that a question whether the remote is
// there need not wait for any of them.
const connections = 12

// Time-outs of one try to connect, and of one read or write on a connection.
const (
	dialTimeout = 5 * time.Second
	ioTimeout   = 10 * time.Second
)

// Options tell where the remote is and who we are there. The zero Options mean
// that there is no remote.
type Options struct {
	Host     string
	Port     int
	Username string // empty: the default user

	// PasswordFile holds the password; it is read for every new connection,
	// so that the password can be rotated. Password counts if it is empty.
	PasswordFile string
	Password     string

	TLS        bool
	CACert     string // file of PEM certificates; empty: the system's
	ServerName string // empty: Host

	Cluster bool // the remote speaks the Redis Cluster protocol
}

// Addr is host:port.
func (o Options) Addr() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// A Command is one for the remote, and its answer once Client.Exec has run it.
type Command struct{ *redis.Cmd }

// NoRetry keeps go-redis from sending a pipeline again by itself, as its client for
// clusters would: who calls Exec decides that.
func (*Command) NoRetry() bool { return true }

// NewCommand makes a command of its name and arguments: strings, bytes or
// integers.
func NewCommand(args ...any) *Command { return &Command{redis.NewCmd(context.Background(), args...)} }

// A Client is a pool of connections to the remote. It connects when it is first
// used, and again when a connection is lost. It may be used concurrently.
type Client struct {
	opts   Options
	rdb    redis.UniversalClient
	cancel context.CancelFunc // ends what dials
}

// New makes a client. It fails only if opts cannot work whatever the remote
// does; it does not wait for the network.
func New(opts Options) (*Client, error) {
	tlsConfig, err := opts.tlsConfig()
	if err != nil {
		return nil, err
	}
	if _, err := opts.password(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	uo := &redis.UniversalOptions{
		Addrs:         []string{opts.Addr()},
		IsClusterMode: opts.Cluster,
		Protocol:      2, // HGETALL and HSET share their flat shape
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			password, err := opts.password()
			return opts.Username, password, err
		},
		// go-redis's own dialer goes on with a handshake after Close.
		Dialer:       dialer(ctx, tlsConfig),
		DialTimeout:  dialTimeout,
		ReadTimeout:  ioTimeout,
		WriteTimeout: ioTimeout,
		PoolSize:     connections,
		// A pool that waits for a connection waits for one of our own
		// pipelines, so let it wait as long as one may take.
		PoolTimeout:           ioTimeout + time.Second,
		ContextTimeoutEnabled: true,
		// Who calls decides whether and when to try again.
		MaxRetries:    -1,
		DialerRetries: 1,
		// Nothing beyond what any Redis Enterprise allows.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if opts.Cluster {
		uo.MaxRetries = 0 // go-redis needs its retries to follow redirections
	}
	return &Client{opts: opts, rdb: redis.NewUniversalClient(uo), cancel: cancel}, nil
}

// dialer connects, with TLS if tlsConfig is not nil, until closing ends.
func dialer(closing context.Context, tlsConfig *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		stop := context.AfterFunc(closing, cancel)
		defer stop()
		if tlsConfig == nil {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		return (&tls.Dialer{Config: tlsConfig}).DialContext(ctx, network, addr)
	}
}

func (o Options) password() (string, error) {
	if o.PasswordFile == "" && o.Username != "" && o.Password == "" {
		// The remote would let us in as its default user, if at all.
		return "", errors.New("the remote's user has no password: set sponsor.remote-password-file, or REDISENT_PWD in the environment")
	}
	if o.PasswordFile == "" {
		return o.Password, nil
	}
	b, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the remote's password: %w (sponsor.remote-password-file)", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("the remote's password: %s is empty (sponsor.remote-password-file)", o.PasswordFile)
	}
	return password, nil
}

func (o Options) tlsConfig() (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	c := &tls.Config{ServerName: o.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = o.Host
	}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the remote's CA certificate: %w (sponsor.remote-cacert)", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("sponsor.remote-cacert %s holds no PEM certificate", o.CACert)
		}
	}
	return c, nil
}

// Addr is where the remote is, for people.
func (c *Client) Addr() string { return c.opts.Addr() }

// Exec runs cmds in one go, in order, and reports an error if it cannot be told
// whether they ran: then the answers mean nothing and all of cmds may be tried
// again. Otherwise each command carries its own answer, which may be that the
// remote refused it: see Command.Err.
func (c *Client) Exec(ctx context.Context, cmds ...*Command) error {
	pipe := c.rdb.Pipeline()
	for _, cmd := range cmds {
		if err := pipe.Process(ctx, cmd); err != nil {
			return c.explain(err)
		}
	}
	_, err := pipe.Exec(ctx)
	answered := false
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !refused(err) {
			return c.explain(err)
		}
		answered = answered || cmd.Err() != nil || cmd.Val() != nil
	}
	// A connection that could not be set up leaves the commands untouched: no
	// error, and no answer.
	if err != nil && !answered {
		return c.explain(err)
	}
	for _, cmd := range cmds {
		if cmd.Err() == nil && cmd.Val() == nil {
			return c.explain(fmt.Errorf("%s was not answered", cmd.Name()))
		}
	}
	return nil
}

// Scan calls found with the keys that match a glob, as SCAN lists them: one may come
// twice, and those that are written meanwhile may be missing. On a cluster it asks
// every shard.
func (c *Client) Scan(ctx context.Context, glob string, found func(keys []string) error) error {
	var mu sync.Mutex // of found: shards answer at the same time
	scan := func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, glob, scanCount).Result()
			if err != nil {
				return c.explain(err)
			}
			mu.Lock()
			err = found(keys)
			mu.Unlock()
			if err != nil || next == 0 {
				return err
			}
			cursor = next
		}
	}
	if cluster, ok := c.rdb.(*redis.ClusterClient); ok {
		var scanned atomic.Bool // else it is the cluster that could not be asked
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			scanned.Store(true)
			return scan(ctx, node)
		})
		if err != nil && !scanned.Load() {
			return c.explain(err)
		}
		return err
	}
	return scan(ctx, c.rdb)
}

// scanCount is how many keys the remote looks at for one answer to SCAN.
const scanCount = 1000

// Refused reports whether err is an answer of the remote, such as NOPERM, and not a
// fault of the connection.
func Refused(err error) bool { return refused(err) }

// Missing reports whether the answer to cmd is that there is no such key.
func Missing(cmd *Command) bool { return errors.Is(cmd.Err(), redis.Nil) }

// Ping asks the remote whether it is there and lets us in.
func (c *Client) Ping(ctx context.Context) error {
	cmd := NewCommand("PING")
	if err := c.Exec(ctx, cmd); err != nil {
		return err
	}
	if err := cmd.Err(); err != nil {
		return c.explain(err)
	}
	return nil
}

// Close ends all connections; what runs over them fails at once.
func (c *Client) Close() error {
	c.cancel()
	return c.rdb.Close()
}

// refused reports whether err is the remote's answer to one command, so that
// others may fare better.
func refused(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	if errors.Is(err, redis.Nil) {
		return true
	}
	// These speak of the connection or of the whole server, not of a key.
	switch code, _, _ := strings.Cut(reply.Error(), " "); code {
	case "NOAUTH", "WRONGPASS", "LOADING", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "BUSY", "TRYAGAIN":
		return false
	}
	return true
}
