package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// An Error says what went wrong between us and the remote, and what to do about
// it.
type Error struct {
	Addr string
	Err  error
	Hint string // may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("remote %s: %v", e.Addr, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

func (c *Client) explain(err error) error {
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	return &Error{Addr: c.Addr(), Err: err, Hint: hint(err)}
}

// hint says what a person can do about err.
func hint(err error) string {
	var (
		unknownCA  x509.UnknownAuthorityError
		wrongName  x509.HostnameError
		badCert    x509.CertificateInvalidError
		notTLS     tls.RecordHeaderError
		noSuchHost *net.DNSError
		timeout    net.Error
	)
	text := err.Error()
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"):
		return "check sponsor.remote-username and sponsor.remote-password-file, or REDISENT_USER and REDISENT_PWD"
	case strings.Contains(text, "NOPERM"):
		return "the remote user lacks a right; the docs list what it needs"
	case errors.As(err, &unknownCA):
		return "name the authority that signed the remote's certificate in sponsor.remote-cacert"
	case errors.As(err, &wrongName):
		return "the certificate is for another name; set sponsor.remote-server-name to one that it bears"
	case errors.As(err, &badCert):
		return "the remote's certificate does not hold; renew it, or check the clock"
	case errors.As(err, &notTLS):
		return "the remote does not speak TLS; set sponsor.remote-tls no, or use its TLS port"
	case errors.As(err, &noSuchHost):
		return "check sponsor.remote-host"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; is the remote up, and are sponsor.remote-host and sponsor.remote-port right?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the remote closed the connection; if it expects TLS, set sponsor.remote-tls yes"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time; is the remote reachable from here, and does sponsor.remote-tls fit it?"
	}
	return ""
}
