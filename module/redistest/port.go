package redistest

import (
	"fmt"
	"syscall"
)

// A Port is a TCP port of 127.0.0.1 that is ours until it is released, whether
// somebody listens on it at the moment or not: a server that was killed finds
// its port free when it comes back.
type Port struct {
	Number int

	fd int
}

// ReservePort takes a free port. It binds a socket that never listens. Linux
// lets a listener share the address only if both sockets have SO_REUSEADDR:
// ours gets it after the bind, so the kernel has chosen a port that nobody
// has, gives it to nobody else, and lets in the server, which sets the option
// as every server does.
func ReservePort() (*Port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	number, err := bindLoopback(fd)
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return &Port{fd: fd, Number: number}, nil
}

func bindLoopback(fd int) (number int, err error) {
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return addr.(*syscall.SockaddrInet4).Port, nil
}

// Release gives the port back.
func (p *Port) Release() { syscall.Close(p.fd) }
