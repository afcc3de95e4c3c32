package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"proxycast/logs"
	"proxycast/server/config"
)

// The command line's side of a running gateway: its state, its service, its log.

// Client calls the gateway that a config describes, from the same machine.
type Client struct {
	base string
	file string   // the config's name
	keys []string // of admins, that the config has in plain text; the one that was accepted is the first
	http http.Client
}

// answerTimeout is what a gateway has to begin its answer: one that takes longer hangs.
const answerTimeout = 10 * time.Second

// NewClient finds the address and the admin keys of the gateway of cfg.
func NewClient(cfg *Config) *Client {
	c := &Client{base: cfg.Server.URL(), file: filepath.Base(cfg.Path)}
	// The certificate names the public host; the call goes to this machine.
	c.http.Transport = &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext:     (&net.Dialer{Timeout: answerTimeout}).DialContext, TLSHandshakeTimeout: answerTimeout, ResponseHeaderTimeout: answerTimeout,
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // nobody else gets the key
	c.keys = cfg.Auth.AdminKeys()
	return c
}

// Ready tells whether the gateway takes requests. It needs no key, and sends none.
func (c *Client) Ready(ctx context.Context) error {
	res, err := (&Client{base: c.base, http: c.http}).call(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Steer has the gateway stop, start, restart or reload, and returns its state then, and what of a config that it has
// read anew should not be.
func (c *Client) Steer(ctx context.Context, verb string) (state string, warnings []string, err error) {
	var answer struct {
		State    string
		Warnings config.Faults
	}
	err = c.ask(ctx, http.MethodPost, "/_service/"+verb, &answer)
	return answer.State, c.told(answer.Warnings), err
}

// told returns faults of the gateway's config file for a terminal.
func (c *Client) told(faults config.Faults) (lines []string) {
	for _, f := range faults {
		f.File = c.file
		lines = append(lines, printable(f.String()))
	}
	return lines
}

// Status returns a few lines on the state of the gateway.
func (c *Client) Status(ctx context.Context) (string, error) {
	var st status
	if err := c.ask(ctx, http.MethodGet, "/_status", &st); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ProxyCast %s: %s for %s, %d requests under way (%d streams)\n", st.Version, st.State,
		(time.Duration(st.UptimeS) * time.Second).String(), st.InFlight, st.Streams)
	fmt.Fprintf(&b, "  OpenAI     %s\n  Claude     %s\n  config     %s\n", st.OpenAI, st.Anthropic, st.ConfigPath)
	for _, p := range st.Providers {
		fmt.Fprintf(&b, "  %s %s %s\n", cell(p.Name, 10), p.State, printable(p.Reason))
		if p.LastError != nil {
			fmt.Fprintf(&b, "             last error %s: %s\n", p.LastError.Time.Local().Format(time.DateTime), printable(p.LastError.Text))
		}
	}
	if st.ReloadFault != nil {
		fmt.Fprintf(&b, "the last reload failed, the old config is in force:\n%s\n", printable(*st.ReloadFault))
	}
	for _, w := range c.told(st.Warnings) {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if len(st.NeedRestart) > 0 {
		fmt.Fprintf(&b, "waiting for a restart: %s\n", strings.Join(st.NeedRestart, ", "))
	}
	return b.String(), nil
}

// ask reads the answer to a request into answer.
func (c *Client) ask(ctx context.Context, method, path string, answer any) error {
	res, err := c.call(ctx, method, path, http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(answer)
}

// call sends a request without a body and with an admin key: what the config knows of keys may be older or newer than
// the gateway, so that the next is tried where one is refused. An answer that is not 200 is errAnswer with the
// gateway's words.
func (c *Client) call(ctx context.Context, method, path string, header http.Header) (res *http.Response, err error) {
	if len(c.keys) == 0 {
		return c.callAs(ctx, "", method, path, header)
	}
	for i, key := range c.keys {
		res, err = c.callAs(ctx, key, method, path, header)
		if !errors.Is(err, errKey) {
			c.keys[0], c.keys[i] = c.keys[i], c.keys[0]
			break
		}
	}
	return res, err
}

// callAs does what call does, with a key unless it is "". errKey is that it was refused.
func (c *Client) callAs(ctx context.Context, key, method, path string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: %w", c.base, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var answer struct{ Error struct{ Message string } }
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer) != nil || answer.Error.Message == "" {
		answer.Error.Message = res.Status
	}
	if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%w: %s", errKey, answer.Error.Message)
	}
	return nil, fmt.Errorf("%w: %s", errAnswer, answer.Error.Message)
}

// errAnswer is an answer of the gateway's that is an error; errKey is one to the key.
var (
	errAnswer = errors.New("the gateway refused")
	errKey    = fmt.Errorf("%w", errAnswer)
)

// Logs prints the records that query chooses to w, the oldest first: as a table
// for a person, else as JSON lines. A format that query names is copied as the gateway
// sends it. With follow, new records are printed until ctx ends; a restart of the gateway
// in between is waited for.
func (c *Client) Logs(ctx context.Context, w io.Writer, query url.Values, follow, person bool) error {
	if query.Has("format") {
		return c.export(ctx, w, query)
	}
	show := func(line []byte) error {
		_, err := fmt.Fprintf(w, "%s\n", line)
		return err
	}
	if person {
		io.WriteString(w, tableHead)
		show = func(line []byte) error {
			var rec logs.Record
			if err := json.Unmarshal(line, &rec); err != nil {
				return err
			}
			_, err := io.WriteString(w, tableRow(&rec))
			return err
		}
	}
	if !follow {
		return c.page(ctx, query, show)
	}
	query.Set("follow", "1")
	if !query.Has("limit") {
		query.Set("limit", "10")
	}
	last, met := "", false
	for {
		answered, err := c.follow(ctx, query, &last, show)
		met = met || answered
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && (!met || errors.Is(err, errAnswer)) {
			return err
		}
		select { // the gateway may be restarting
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// export copies the log to w in the format that query asks for.
func (c *Client) export(ctx context.Context, w io.Writer, query url.Values) error {
	res, err := c.call(ctx, http.MethodGet, "/_logs?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// page shows the records that query chooses, the oldest first.
func (c *Client) page(ctx context.Context, query url.Values, show func(line []byte) error) error {
	var page struct{ Data []json.RawMessage }
	if err := c.ask(ctx, http.MethodGet, "/_logs?"+query.Encode(), &page); err != nil {
		return err
	}
	for _, line := range slices.Backward(page.Data) {
		if err := show(line); err != nil {
			return err
		}
	}
	return nil
}

// follow prints rows until the connection ends. last is the id of the newest
// row, to resume after. answered tells that there was a connection.
func (c *Client) follow(ctx context.Context, query url.Values, last *string, show func(line []byte) error) (answered bool, err error) {
	header := http.Header{}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	res, err := c.call(ctx, http.MethodGet, "/_logs?"+query.Encode(), header)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	gap := false
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "id":
			*last = value
		case name == "event":
			gap = value == "gap"
		case name == "data" && gap:
			fmt.Fprintf(os.Stderr, "rows were lost: %s\n", value)
			gap = false
		case name == "data":
			if err := show([]byte(value)); err != nil {
				return true, err
			}
		}
	}
	return true, lines.Err()
}
