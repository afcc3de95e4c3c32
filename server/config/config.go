// Package config loads config.json: strict JSON with comments, whose faults are told
// all at once, each with its place. It describes the file as a JSON Schema, and hides
// the secrets of its text from those whom it is shown to.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"proxycast/auth"
	"proxycast/cors"
	"proxycast/logs"
	"proxycast/upstream"
)

// Config is config.json, loaded and checked. Each section is the Config of the
// package that it is named after.
type Config struct {
	Schema   string          `json:"$schema,omitempty" doc:"The JSON Schema of this file, for editors."`
	Server   Settings        `json:"server" doc:"The listener and its limits."`
	Auth     auth.Config     `json:"auth" doc:"Who may call."`
	CORS     cors.Config     `json:"cors" doc:"Which web pages may call."`
	Logs     logs.Config     `json:"logs" doc:"The request log."`
	Upstream upstream.Config `json:"upstream" doc:"The providers, and the models that lead to them."`

	Path     string   `json:"-"` // absolute path of the file
	Tag      string   `json:"-"` // of its text
	Dir      string   `json:"-"` // its folder: relative paths start here, runtime data goes to Dir/data
	Warnings []string `json:"-"` // what should not be, as file:line:column: path: message, in the file's order

	file     string // as Load was given it
	getenv   func(string) (string, bool)
	written  map[string]string // the text of each path whose references are resolved
	resolved []string          // what the references stand for
	warned   Faults            // the Warnings
}

// Settings is the "server" section of config.json.
type Settings struct {
	Host             string        `json:"host" refs:"true" default:"127.0.0.1" doc:"The address to listen on: an IP address or a host name. Beyond loopback auth must be on."`
	Port             int           `json:"port" default:"9090" min:"0" max:"65535" doc:"The port to listen on. 0 picks a free one."`
	Hosts            []string      `json:"hosts" doc:"Further host names by which clients may address a loopback listener."`
	TrustedProxies   []string      `json:"trusted_proxies" doc:"Addresses (CIDR, or one address) of proxies before the gateway. From these the right-most address of X-Forwarded-For that is not among them counts as the client's."`
	MaxBody          int64         `json:"max_body" unit:"bytes" default:"32MiB" min:"1KiB" max:"1TiB" doc:"The largest request body."`
	MaxInflightBytes int64         `json:"max_inflight_bytes" unit:"bytes" default:"128MiB" min:"1KiB" max:"1TiB" doc:"What all request bodies, and replies that are held, may take in memory together. One key has at most half of it, or max_body if that is more."`
	MaxConnections   int           `json:"max_connections" default:"0" min:"0" max:"1000000" doc:"How many connections are served at a time, the others wait. 0: no limit."`
	Drain            time.Duration `json:"drain" default:"30s" doc:"How long a shutdown waits for requests under way."`
	TLS              TLS           `json:"tls" doc:"Serve HTTPS. Both files or none."`
	Paused           bool          `json:"paused" default:"false" doc:"Start paused: the client API answers 503 until it is started on the dashboard or by proxycast start."`
}

// TLS names the files of a certificate. Both are empty for plain HTTP.
type TLS struct {
	Cert string `json:"cert" path:"true" doc:"The certificate chain, PEM."`
	Key  string `json:"key" path:"true" doc:"The private key, PEM."`
}

// MaxBytes is the largest config file.
const MaxBytes = 1 << 20

// Load reads the config file at path. getenv resolves ${NAME} and is used like
// os.LookupEnv. Whatever is wrong with the content is returned at once, as
// Faults that name the file as path does.
func Load(path string, getenv func(string) (string, bool)) (*Config, error) {
	cfg, err := Salvage(path, getenv)
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// Salvage does what Load does, but returns beside Faults what could be decoded in spite of them, with defaults for
// the rest. That is for finding the gateway that runs, not for running one.
func Salvage(path string, getenv func(string) (string, bool)) (*Config, error) {
	text, mode, err := ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w; to start with the defaults, write {} into it", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	cfg := &Config{Path: absolute, Tag: Tag(text), Dir: filepath.Dir(absolute), file: path, getenv: getenv}
	root, err := parseJSONC(text)
	faults, warnings := cfg.fill(root, err, mode)
	if len(faults) > 0 {
		return cfg, locateFindings(path, text, faults)
	}
	cfg.warned = locateFindings(path, text, warnings)
	for _, w := range cfg.warned {
		cfg.Warnings = append(cfg.Warnings, w.String())
	}
	return cfg, nil
}

// Warned returns the Warnings with their places.
func (c *Config) Warned() Faults { return append(Faults{}, c.warned...) }

// Reread loads the file that c was made of again.
func (c *Config) Reread() (*Config, error) { return Load(c.file, c.getenv) }

// Check returns what is wrong with u as the content of c's file, which has the mode, and
// what should not be. The places are those of the text with masks.
func (c *Config) Check(u Unmasked, mode fs.FileMode) (faults, warnings Faults) {
	would := &Config{Path: c.Path, Dir: c.Dir, getenv: c.getenv}
	wrong, odd := would.fill(u.root, u.err, mode)
	return locateFindings(c.Path, u.shown, append(wrong, u.lost...)), locateFindings(c.Path, u.shown, odd)
}

// fill decodes a file that has the mode into c, whose paths are set. root and err are what
// parseJSONC made of its text. Of a text that is no JSON the fault is the only one, whatever else is wrong with it.
func (c *Config) fill(root *jsonNode, err error, mode fs.FileMode) (faults, warnings []finding) {
	d := newDecoder(c.Dir, c.getenv)
	d.decode(root, configSlot{value: reflect.ValueOf(c).Elem()})
	c.Auth.AdminKeyFile, c.Auth.ClientKeyFile = filepath.Join(c.Dir, "data", "admin.key"), filepath.Join(c.Dir, "data", "client.key")
	d.checkSections(c)
	c.written, c.resolved = d.written, d.resolved
	if syntax := (*jsonSyntaxError)(nil); errors.As(err, &syntax) {
		return []finding{{at: syntax.at, message: syntax.message}}, nil
	}
	if len(d.secrets) > 0 && runtime.GOOS != "windows" && mode.Perm()&0o044 != 0 {
		first := d.secrets[0]
		first.message = "a secret is written out here and others can read the file: chmod 600 it, or write ${NAME} instead"
		d.warnings = append(d.warnings, first)
	}
	return d.faults, d.warnings
}

// Tag identifies a config's text, secrets included, as an entity tag (RFC 9110 §8.8.3).
func Tag(text []byte) string {
	digest := sha256.Sum256(text)
	return `"` + hex.EncodeToString(digest[:16]) + `"`
}

// ReadFile returns the text of a config file and its mode. A file larger than 1 MiB, or anything but a file, is an
// error.
func ReadFile(path string) (text []byte, mode fs.FileMode, err error) {
	text, mode, err = auth.ReadFile(path, MaxBytes)
	if errors.Is(err, auth.ErrTooLarge) {
		err = fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return text, mode, err
}

// checkSections lets each section judge its values, then judges what concerns
// two of them. A value that could not be decoded is not judged again.
func (d *configDecoder) checkSections(cfg *Config) {
	undecoded := map[int]bool{}
	for _, f := range d.faults {
		undecoded[f.at] = true
	}
	in := func(section string, list *[]finding) func(path, message string) {
		return func(path, message string) {
			path = strings.TrimSuffix(section+"."+path, ".")
			if at := d.place(path); !undecoded[at] {
				*list = append(*list, finding{at, path, message})
			}
		}
	}
	cfg.Server.Check(in("server", &d.faults), in("server", &d.warnings))
	cfg.Auth.Check(in("auth", &d.faults), in("auth", &d.warnings))
	cfg.CORS.Check(in("cors", &d.faults), in("cors", &d.warnings))
	cfg.Logs.Check(in("logs", &d.faults), in("logs", &d.warnings))
	cfg.Upstream.Check(in("upstream", &d.faults), in("upstream", &d.warnings))
	if !cfg.Auth.Enabled && isHost(cfg.Server.Host) && !IsLoopback(cfg.Server.Host) {
		in("server", &d.faults)("host", "auth is off, so the host must be 127.0.0.1, ::1 or localhost")
	}
}

// Check reports what is wrong with s: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "tls.cert".
func (s Settings) Check(fault, warn func(path, message string)) {
	const notHost = "is neither an IP address nor a host name; write it without scheme, port and path"
	if !isHost(s.Host) {
		fault("host", notHost)
	}
	for i, host := range s.Hosts {
		if !isHost(host) {
			fault(fmt.Sprintf("hosts[%d]", i), notHost)
		}
	}
	for i, text := range s.TrustedProxies {
		if _, err := parsePrefix(text); err != nil {
			fault(fmt.Sprintf("trusted_proxies[%d]", i), "is neither a range of addresses such as 10.0.0.0/8 nor one address")
		}
	}
	if s.MaxInflightBytes < s.MaxBody {
		fault("max_inflight_bytes", "must be at least max_body")
	}
	if s.TLS.Cert != "" && s.TLS.Key == "" {
		fault("tls.cert", "needs tls.key too")
	}
	if s.TLS.Key != "" && s.TLS.Cert == "" {
		fault("tls.key", "needs tls.cert too")
	}
}

// Prefixes parses ranges of addresses, which Check found good.
func Prefixes(texts []string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		if prefix, err := parsePrefix(text); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// parsePrefix parses a range of addresses, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap().Prefix(address.Unmap().BitLen())
	}
	return netip.ParsePrefix(text)
}

// URL returns the address under which a client on this machine reaches a gateway
// with these settings.
func (c Settings) URL() string {
	scheme, host := "http", c.Host
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(c.Port))
}

// IsLoopback reports whether host is localhost or a loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// isHost reports whether host is an IP address or looks like a name that
// could be resolved (RFC 1123 §2.1, and the underscore that Docker uses). A
// last label of digits alone is a mistyped address, not a name.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.TrimFunc(label, isHostRune) != "" {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

func isHostRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}
