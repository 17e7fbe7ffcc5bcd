package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxBody bounds an answer of GitHub. The ones we ask for have a few hundred
// bytes; a list of e-mail addresses may have some thousand.
const maxBody = 1 << 20

// errBroken is a connection that broke before the answer was complete.
var errBroken = errors.New("the connection broke")

// errTooLarge is an answer of more than maxBody bytes.
var errTooLarge = errors.New("the answer is too large")

// bounded is a transport that never hands out more than maxBody bytes of an
// answer, and names us. The libraries on top read bodies to their end.
type bounded struct{ next http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "redis-sponsor")
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		if r.Context().Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	resp.Body = &boundedBody{body: resp.Body, left: maxBody}
	return resp, nil
}

type boundedBody struct {
	body io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= n
	return n, err
}

func (b *boundedBody) Close() error { return b.body.Close() }

// withToken is a transport that signs in with a token and keeps a copy of the
// last answer. It serves one goroutine.
type withToken struct {
	next   http.RoundTripper
	token  string
	status int
	body   []byte
}

func (t *withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.status = resp.StatusCode
	resp.Body = &recorded{ReadCloser: resp.Body, into: &t.body}
	return resp, nil
}

// recorded copies what is read. Its source is bounded.
type recorded struct {
	io.ReadCloser
	into *[]byte
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	*r.into = append(*r.into, p[:n]...)
	return n, err
}

// get asks REST and returns the status and the body.
func (c *Client) get(ctx context.Context, path, token string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.apiURL+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
