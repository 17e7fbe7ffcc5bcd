package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// A conn is a connection to a server's unix socket that adds as little as
// possible to what is timed.
type conn struct {
	socket net.Conn
	r      *bufio.Reader
	stop   func() bool
}

// dial connects as the default user. The end of ctx breaks the connection.
func dial(ctx context.Context, s *server) (*conn, error) {
	socket, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Socket())
	if err != nil {
		return nil, err
	}
	c := &conn{
		socket: socket, r: bufio.NewReaderSize(socket, 1<<16),
		stop: context.AfterFunc(ctx, func() { socket.Close() }),
	}
	if password := s.Config().Password; password != "" {
		if _, err := c.do(encode("AUTH", password)); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *conn) close() {
	c.stop()
	c.socket.Close()
}

// encode is a command as it is sent.
func encode(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}

// do sends a command and reads its answer, which must be no array. It returns the
// first line of it, which holds until the next call. An error reply is an error.
func (c *conn) do(command []byte) ([]byte, error) {
	if _, err := c.socket.Write(command); err != nil {
		return nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line = line[:len(line)-len("\r\n")]
	switch line[0] {
	case '-':
		return nil, fmt.Errorf("the server answers %s", line[1:])
	case '$':
		length, err := strconv.Atoi(string(line[1:]))
		if err != nil || length < 0 {
			return line, err
		}
		_, err = c.r.Discard(length + len("\r\n"))
		return line, err
	}
	return line, nil
}

// line reads one more line, of whatever length.
func (c *conn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), err
}
