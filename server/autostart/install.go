package autostart

// What is done with systemd: the unit is installed, removed and shown, and told of the
// state of the gateway.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

const unitName = "proxycast.service"

// Install writes the unit file and starts the gateway with it, or restarts one that
// runs already. It reports each step to out. A system unit needs root.
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
	text, err := u.File("systemd")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
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

// Status writes what systemd knows of the unit to out. It is an error if the
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
// "RELOADING=1" and then "READY=1", "STOPPING=1". Without NOTIFY_SOCKET there is no
// service manager to notify, and it does nothing. Type=notify-reload would need
// MONOTONIC_USEC with "RELOADING=1"; the Type=notify of our unit does not.
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
