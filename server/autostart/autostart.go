// Package autostart is how the gateway lives under the system's service manager: the
// start-up files of systemd, launchd and the Windows Task Scheduler, which are the
// files beside this one with the values of a Unit put in; their installation under
// systemd, and the word to systemd that the gateway is ready.
package autostart

import (
	"context"
	_ "embed"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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

const unitName = "proxycast.service"

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

// Systemd gives the unit file. An older systemd ignores the options that it
// does not know.
func (u Unit) Systemd() string {
	dir := filepath.Dir(u.Config)
	text := systemUnit
	if u.User {
		text = userUnit
	}
	writable := unitWord(dir)
	if logs := filepath.Dir(u.Log); !within(dir, logs) {
		writable += " " + unitWord("-"+logs)
	}
	// A port below 1024 takes a capability of the host, not of a user namespace.
	capabilities, privateUsers := "", "yes"
	if u.Port > 0 && u.Port < 1024 {
		capabilities, privateUsers = "CAP_NET_BIND_SERVICE", "no"
	}
	return strings.NewReplacer(
		"{start}", unitWord(":"+u.Binary)+" serve -config "+unitWord(u.Config),
		"{stop}", u.stopSeconds(),
		"{environment}", "-"+unitSpecifiers.Replace(filepath.Join(dir, "proxycast.env")),
		"{account}", unitSpecifiers.Replace(u.Account),
		"{writable}", writable,
		"{fixed}", unitWord(u.Binary)+" "+unitWord("-"+filepath.Join(dir, "proxycast.env")),
		"{capabilities}", capabilities,
		"{private_users}", privateUsers,
	).Replace(strings.Replace(text, "{service}", unitService, 1))
}

//go:embed system.service
var systemUnit string

//go:embed user.service
var userUnit string

// unitService is what the system unit and the user unit have in common.
//
//go:embed common.service
var unitService string

// unitSpecifiers escapes text that systemd takes whole (systemd.unit(5), Specifiers).
var unitSpecifiers = strings.NewReplacer("%", "%%")

// unitWord writes text as one word of a line of words (systemd.syntax(7), Quoting).
// In ExecStart, variables are expanded too unless the program's path follows a ':'.
func unitWord(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(text) + `"`
}

// within reports whether path is dir or below it.
func within(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}

// stopSeconds is how long the service manager waits before it kills.
func (u Unit) stopSeconds() string {
	return strconv.Itoa(int(math.Ceil((u.Drain + spareStop).Seconds())))
}

// Launchd gives the property list of macOS (launchd.plist(5)): an agent of the
// login, or a daemon of the machine.
func (u Unit) Launchd() string {
	steps, account := launchdAgent, ""
	if !u.User {
		steps = launchdDaemon
		account = "\n\t<key>UserName</key>\n\t<string>" + xmlText(u.Account) + "</string>"
	}
	dir := filepath.Dir(u.Config)
	return strings.NewReplacer(
		"{steps}", steps,
		"{account}", account,
		"{binary}", xmlText(u.Binary),
		"{config}", xmlText(u.Config),
		"{stop}", u.stopSeconds(),
		"{errors}", xmlText(filepath.Join(dir, "proxycast.log")),
	).Replace(launchdList)
}

//go:embed launchd-agent.txt
var launchdAgent string

//go:embed launchd-daemon.txt
var launchdDaemon string

//go:embed launchd.plist
var launchdList string

// WindowsTask gives a task that starts at the logon of u.Account, or of anyone
// if there is none (which takes an administrator to create). A %NAME% in a path
// cannot be escaped: the Task Scheduler expands it if there is such a variable.
//
// The text is ASCII and declares no encoding: schtasks refuses a file whose
// encoding is not the declared one, and shells write different ones.
func (u Unit) WindowsTask() string {
	logon, principal := "", ""
	if u.Account != "" {
		principal = "\n      <UserId>" + xmlASCII(u.Account) + "</UserId>"
		logon = principal
	}
	return strings.NewReplacer(
		"{logon}", logon,
		"{principal}", principal,
		"{binary}", xmlASCII(u.Binary),
		"{arguments}", xmlASCII("serve -config "+windowsWord(u.Config)),
	).Replace(windowsTask)
}

// The defaults that are changed here would end the task after three days, keep
// it from running on battery, and give it a low priority (7; 5 is normal).
//
//go:embed windows.xml
var windowsTask string

// xmlText escapes text for an XML element.
func xmlText(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}

// xmlASCII escapes text for an XML element in ASCII.
func xmlASCII(text string) string {
	var b strings.Builder
	for _, r := range xmlText(text) {
		if r <= unicode.MaxASCII {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#x%X;", r)
		}
	}
	return b.String()
}

// windowsWord quotes one argument for CommandLineToArgvW: a quote has a
// backslash before it, and twice the backslashes that stood there. A file's
// path does not end in a backslash, which would have to be doubled too.
func windowsWord(text string) string {
	return `"` + backslashedQuote.ReplaceAllString(text, `${1}${1}\"`) + `"`
}

var backslashedQuote = regexp.MustCompile(`(\\*)"`)

// Install writes the unit file and starts the gateway with it, or anew if it
// runs already. What it does is told to out. A system unit needs root.
func (u Unit) Install(ctx context.Context, out io.Writer) error {
	if err := u.Check(); err != nil {
		return err
	}
	path, err := u.path()
	if err != nil {
		return err
	}
	if _, err := systemctlPath(); err != nil { // before anything is written
		return err
	}
	if !u.User {
		if err := u.giveFolders(out); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return u.explain(err)
	}
	if err := os.WriteFile(path, []byte(u.Systemd()), 0o644); err != nil {
		return u.explain(err)
	}
	fmt.Fprintf(out, "wrote %s\n", path)
	for _, args := range [][]string{{"daemon-reload"}, {"enable", unitName}, {"restart", unitName}} {
		if err := u.systemctl(ctx, out, args...); err != nil {
			return err
		}
	}
	if u.User {
		fmt.Fprintln(out, "it runs while you are logged in; to have it always: loginctl enable-linger")
	}
	return nil
}

// Uninstall stops the gateway and removes the unit file. Config and data stay.
func (u Unit) Uninstall(ctx context.Context, out io.Writer) error {
	path, err := u.path()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: it is not installed: %w", ErrAutostart, err)
	}
	if err := u.systemctl(ctx, out, "disable", "--now", unitName); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return u.explain(err)
	}
	fmt.Fprintf(out, "removed %s\n", path)
	return u.systemctl(ctx, out, "daemon-reload")
}

// Status tells out what systemd knows of the unit. It is an error if the
// gateway does not run.
func (u Unit) Status(ctx context.Context, out io.Writer) error {
	return u.systemctl(ctx, out, "status", "--no-pager", unitName)
}

// path is where the unit file belongs.
func (u Unit) path() (string, error) {
	if !u.User {
		return "/etc/systemd/system/" + unitName, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAutostart, err)
	}
	return filepath.Join(dir, "systemd", "user", unitName), nil
}

// giveFolders makes the folders that the gateway writes to, for its account,
// where they are missing: it may have no right to make them itself.
func (u Unit) giveFolders(out io.Writer) error {
	account, err := user.Lookup(u.Account)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAutostart, err)
	}
	uid, _ := strconv.Atoi(account.Uid) // numbers wherever there is systemd
	gid, _ := strconv.Atoi(account.Gid)
	for _, dir := range []string{filepath.Join(filepath.Dir(u.Config), "data"), filepath.Dir(u.Log)} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := os.MkdirAll(filepath.Dir(dir), 0o755)
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
		if err == nil {
			err = os.Lchown(dir, uid, gid)
		}
		if err != nil {
			return u.explain(err)
		}
		fmt.Fprintf(out, "made %s for %s\n", dir, u.Account)
	}
	return nil
}

// explain adds to a failure of the file system what mends it.
func (u Unit) explain(err error) error {
	if errors.Is(err, fs.ErrPermission) && !u.User {
		return fmt.Errorf("%w: %w; a system service is installed by root: use sudo, or make it a service of your own", ErrAutostart, err)
	}
	return fmt.Errorf("%w: %w", ErrAutostart, err)
}

func systemctlPath() (string, error) {
	path, err := exec.LookPath("systemctl")
	if err != nil {
		return "", fmt.Errorf("%w: there is no systemctl here, so nothing can be installed; print the start-up file for your system instead", ErrAutostart)
	}
	return path, nil
}

// systemctl runs one command of systemd's and passes on what it says.
func (u Unit) systemctl(ctx context.Context, out io.Writer, args ...string) error {
	path, err := systemctlPath()
	if err != nil {
		return err
	}
	if u.User {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: systemctl %s: %w", ErrAutostart, strings.Join(args, " "), err)
	}
	return nil
}

// Notify tells the service manager a state (sd_notify(3)): "READY=1",
// "RELOADING=1" and then "READY=1", "STOPPING=1". Without NOTIFY_SOCKET nobody
// listens, and it does nothing. Type=notify-reload would need MONOTONIC_USEC
// with "RELOADING=1"; the Type=notify of our unit does not.
func Notify(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: socket}) // a leading @ is an abstract name
	if err != nil {
		return fmt.Errorf("%w: NOTIFY_SOCKET: %w", ErrAutostart, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, state); err != nil {
		return fmt.Errorf("%w: NOTIFY_SOCKET: %w", ErrAutostart, err)
	}
	return nil
}
