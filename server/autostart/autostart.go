// Package autostart runs the gateway under the system's service manager. It renders the
// start-up files of systemd, launchd and the Windows Task Scheduler from the templates
// beside this file, installs the one of systemd, and notifies systemd of the gateway's
// state.
package autostart

import (
	"embed"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"
)

// ErrAutostart is why a start-up file cannot be used, installed or removed.
var ErrAutostart = errors.New("autostart")

// Unit describes what the service manager is to start.
type Unit struct {
	Binary  string        // absolute path of the program
	Config  string        // absolute path of the config file
	Log     string        // absolute path of the request log
	Port    int           // what it listens on; below 1024 a system unit gets the right to
	Drain   time.Duration // how long a stop may take
	User    bool          // it belongs to a person's login, not to the machine
	Account string        // who runs it: a system unit needs one; for Windows, whose logon starts it
}

// spareStop is what a stop may take beyond the drain.
const spareStop = 10 * time.Second

// goBuilt matches what "go run" leaves in its temporary folder or its cache.
var goBuilt = regexp.MustCompile(`[/\\](go-build[^/\\]*|[0-9a-f]{64}-d)[/\\]`)

// Check says all that keeps u from being started by a service manager.
func (u Unit) Check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: %s", ErrAutostart, fmt.Sprintf(format, args...)))
	}
	for _, path := range []string{u.Binary, u.Config, u.Log} {
		if !filepath.IsAbs(path) {
			fault("%q is not an absolute path", path)
		}
		if strings.ContainsFunc(path, unicode.IsControl) {
			fault("%q has a control character", path)
		}
		if !u.User && (strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/var/tmp/")) {
			fault("%s is temporary, and a system service has a /tmp of its own; move it", path)
		}
	}
	if goBuilt.MatchString(u.Binary) {
		fault(`%s was built by "go run" and will be deleted; build a lasting one: go build -o proxycast .`, u.Binary)
	}
	if filepath.Separator == '/' && strings.ContainsAny(u.Binary, `"'\`) {
		fault("%s has a quote or a backslash in its path, and systemd starts no such program; move it", u.Binary)
	}
	if !u.User && (u.Account == "" || u.Account == "root") {
		fault("a system service needs an account that is not root; one of its own: useradd --system --user-group proxycast")
	}
	return errors.Join(faults...)
}

// File returns the start-up file of a form: "systemd" (systemd.unit(5)), "launchd", the
// property list of macOS (launchd.plist(5)), or "windows", a task of the Task Scheduler.
// Another form is an error.
//
// An older systemd ignores the options that it does not know. The Windows task starts at
// the logon of u.Account, or of anyone if there is none (which takes an administrator to
// create); a %NAME% in a path cannot be escaped there: it is expanded if there is such a
// variable.
func (u Unit) File(form string) (string, error) {
	name, ok := map[string]string{"systemd": "systemd.service", "launchd": "launchd.plist", "windows": "windows.xml"}[form]
	if !ok {
		return "", fmt.Errorf("%w: there is no form %q; want systemd, launchd or windows", ErrAutostart, form)
	}
	dir := filepath.Dir(u.Config)
	v := values{
		Unit: u, Dir: dir, Environment: filepath.Join(dir, "proxycast.env"), ErrorLog: filepath.Join(dir, "proxycast.log"),
		StopSeconds: int(math.Ceil((u.Drain + spareStop).Seconds())), LowPort: u.Port > 0 && u.Port < 1024,
	}
	if logs := filepath.Dir(u.Log); !within(dir, logs) {
		v.LogDir = logs
	}
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		panic("autostart: " + err.Error()) // the templates are ours, and tested with odd values
	}
	return b.String(), nil
}

// values is what the templates take.
type values struct {
	Unit
	Dir         string // of the config
	LogDir      string // of the request log, if that is outside of Dir
	Environment string // the file of environment variables
	ErrorLog    string // what launchd writes the standard error to
	StopSeconds int    // until the service manager kills
	LowPort     bool   // it takes a capability of the host, not of a user namespace
}

//go:embed systemd.service launchd.plist windows.xml
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"escaped": systemdEscaped, "word": systemdWord, "xml": xmlText, "argument": windowsArgument,
}).ParseFS(files, "*"))

// within reports whether path is dir or below it.
func within(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}

// systemdEscaped escapes text that systemd takes whole (systemd.unit(5), Specifiers).
func systemdEscaped(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// systemdWord writes text as one word of a line of words (systemd.syntax(7), Quoting).
// In ExecStart, variables are expanded too unless the program's path follows a ':'.
func systemdWord(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(text) + `"`
}

// xmlText escapes text for an XML element, in ASCII: schtasks refuses a file whose
// encoding is not the declared one, and shells write different ones.
func xmlText(text string) string {
	var escaped, ascii strings.Builder
	xml.EscapeText(&escaped, []byte(text)) // a strings.Builder takes everything
	for _, r := range escaped.String() {
		if r <= unicode.MaxASCII {
			ascii.WriteRune(r)
		} else {
			fmt.Fprintf(&ascii, "&#x%X;", r)
		}
	}
	return ascii.String()
}

// windowsArgument quotes one argument for CommandLineToArgvW: a quote has a backslash
// before it, and twice the backslashes that stood there. A file's path does not end in a
// backslash, which would have to be doubled too.
func windowsArgument(text string) string {
	return `"` + backslashedQuote.ReplaceAllString(text, `${1}${1}\"`) + `"`
}

var backslashedQuote = regexp.MustCompile(`(\\*)"`)
