package redistest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// conn is a raw connection to a server's unix socket, for what a client
// library hides.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects as the default user.
func (s *Server) dial() (*conn, error) {
	nc, err := net.DialTimeout("unix", s.Socket(), time.Second)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, r: bufio.NewReader(nc)}
	if s.cfg.Password == "" {
		return c, nil
	}
	answer, err := c.do("AUTH", s.cfg.Password)
	if err == nil && answer != "+OK" {
		err = fmt.Errorf("AUTH: %s", answer)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// do sends a command and reads the first line of the answer.
func (c *conn) do(args ...string) (string, error) {
	if err := c.send(args...); err != nil {
		return "", err
	}
	return c.line()
}

func (c *conn) send(args ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err := c.Write([]byte(b.String()))
	return err
}

func (c *conn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
