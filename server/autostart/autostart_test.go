package autostart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"proxycast/internal_test/harness"
	"proxycast/server/autostart"
)

// hostile is a folder name with all that a start-up file could misread.
const hostile = `a %h "q" 'x' \b $HOME & <数据> é`

// unit is a unit whose files lie in dir.
func unit(dir string) autostart.Unit {
	return autostart.Unit{
		Binary:  filepath.Join(dir, "bin", "proxycast"),
		Config:  filepath.Join(dir, "config.json"),
		Log:     filepath.Join(dir, "data", "requests.jsonl"),
		Drain:   30 * time.Second,
		Port:    9090,
		Account: "proxycast",
	}
}

// startupFile returns the start-up file of a form.
func startupFile(t *testing.T, u autostart.Unit, form string) string {
	t.Helper()
	text, err := u.File(form)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSystemdUnit(t *testing.T) {
	check := func(name string, change func(u *autostart.Unit), want, not []string) {
		t.Run(name, func(t *testing.T) {
			u := unit("/srv/proxy cast")
			change(&u)
			lines := strings.Split(startupFile(t, u, "systemd"), "\n")
			has := func(line string) bool {
				for _, l := range lines {
					if l == line {
						return true
					}
				}
				return false
			}
			for _, line := range want {
				if !has(line) {
					t.Errorf("there is no line %q", line)
				}
			}
			for _, line := range not {
				if has(line) {
					t.Errorf("there is the line %q", line)
				}
			}
			if strings.Contains(startupFile(t, u, "systemd"), "{") {
				t.Error("a placeholder was left")
			}
		})
	}
	check("system", func(u *autostart.Unit) {}, []string{
		"Type=notify",
		"NotifyAccess=main",
		`ExecStart=":/srv/proxy cast/bin/proxycast" serve -config "/srv/proxy cast/config.json"`,
		"ExecReload=/bin/kill -HUP $MAINPID",
		"Restart=on-failure",
		"RestartPreventExitStatus=2",
		"Environment=GOTRACEBACK=crash",
		"EnvironmentFile=-/srv/proxy cast/proxycast.env",
		"StandardOutput=null",
		"TimeoutStopSec=40",
		"User=proxycast",
		`ReadWritePaths="/srv/proxy cast"`,
		`ReadOnlyPaths="/srv/proxy cast/bin/proxycast" "-/srv/proxy cast/proxycast.env"`,
		"CapabilityBoundingSet=",
		"PrivateUsers=yes",
		"WantedBy=multi-user.target",
	}, nil)
	check("user", func(u *autostart.Unit) { u.User, u.Account = true, "" }, []string{
		"Type=notify",
		"NoNewPrivileges=yes",
		"WantedBy=default.target",
	}, []string{
		"User=",
		"PrivateUsers=yes",
		"ProtectSystem=strict",
		"After=network-online.target",
	})
	check("low port", func(u *autostart.Unit) { u.Port = 443 }, []string{
		"CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
		"AmbientCapabilities=CAP_NET_BIND_SERVICE",
		"PrivateUsers=no",
	}, nil)
	check("log elsewhere, odd drain", func(u *autostart.Unit) {
		u.Log = "/var/log/proxy/requests.jsonl"
		u.Drain = 1500 * time.Millisecond
	}, []string{
		`ReadWritePaths="/srv/proxy cast" "-/var/log/proxy"`,
		"TimeoutStopSec=12",
	}, nil)
	check("escapes", func(u *autostart.Unit) { *u = unit("/srv/" + hostile) }, []string{
		`ExecStart=":/srv/a %%h \"q\" 'x' \\b $HOME & <数据> é/bin/proxycast" serve -config "/srv/a %%h \"q\" 'x' \\b $HOME & <数据> é/config.json"`,
		`EnvironmentFile=-/srv/a %%h "q" 'x' \b $HOME & <数据> é/proxycast.env`,
		`ReadWritePaths="/srv/a %%h \"q\" 'x' \\b $HOME & <数据> é"`,
	}, nil)
}

// systemd's own judgement: no complaint, and a low exposure.
func TestSystemdAnalyze(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	analyze := harness.NeedTool(t, "systemd-analyze", "apt-get install systemd")
	check := func(name, folder string, user bool) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), folder)
			u := unit(dir)
			u.User = user
			u.Binary = filepath.Join(t.TempDir(), "100 %h é 数据", "proxycast") // systemd allows no quotes here
			harness.PlaceFile(t, u.Binary, "#!/bin/sh\n", 0o755)              // verify looks for it
			file := filepath.Join(t.TempDir(), "proxycast.service")
			harness.PlaceFile(t, file, startupFile(t, u, "systemd"), 0o644)
			run := func(args ...string) string {
				cmd := exec.Command(analyze, args...)
				cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir()) // for --user
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
				}
				return string(out)
			}
			manager := "--system"
			if user {
				manager = "--user"
			}
			if out := run("verify", manager, "--man=no", file); out != "" {
				t.Errorf("systemd-analyze verify: %s", out)
			}
			if !user {
				run("security", "--offline=true", "--threshold=20", file) // fails above 2.0
			}
		})
	}
	check("system", "plain", false)
	check("user", "plain", true)
	check("system, escapes", hostile, false)
	check("user, escapes", hostile, true)
}

func TestLaunchdList(t *testing.T) {
	u := unit("/Users/me/" + hostile)
	agent := u
	agent.User = true
	for _, text := range []string{startupFile(t, u, "launchd"), startupFile(t, agent, "launchd")} {
		wellFormed(t, text)
		var list struct {
			Keys    []string `xml:"dict>key"`
			Strings []string `xml:"dict>string"`
			Program []string `xml:"dict>array>string"`
			Numbers []int    `xml:"dict>integer"`
		}
		if err := xml.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		if want := []string{u.Binary, "serve", "-config", u.Config}; !reflect.DeepEqual(list.Program, want) {
			t.Errorf("the program is %q, want %q", list.Program, want)
		}
		if want := []int{10, 40, 0o77}; !reflect.DeepEqual(list.Numbers, want) {
			t.Errorf("numbers are %d, want %d", list.Numbers, want)
		}
		want := []string{"proxycast", filepath.Join(filepath.Dir(u.Config), "proxycast.log")}
		if strings.Contains(text, "LaunchDaemons") {
			want = []string{"proxycast", "proxycast", want[1]}
		}
		if !reflect.DeepEqual(list.Strings, want) {
			t.Errorf("texts are %q, want %q", list.Strings, want)
		}
	}
}

func TestWindowsTask(t *testing.T) {
	check := func(u autostart.Unit, arguments string) {
		t.Helper()
		text := startupFile(t, u, "windows")
		wellFormed(t, text)
		if i := strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
			t.Errorf("not ASCII at %q", text[i:])
		}
		var task struct {
			LogonOf   string `xml:"Triggers>LogonTrigger>UserId"`
			Principal string `xml:"Principals>Principal>UserId"`
			Limit     string `xml:"Settings>ExecutionTimeLimit"`
			Command   string `xml:"Actions>Exec>Command"`
			Arguments string `xml:"Actions>Exec>Arguments"`
		}
		if err := xml.Unmarshal([]byte(text), &task); err != nil {
			t.Fatal(err)
		}
		if task.LogonOf != u.Account || task.Principal != u.Account {
			t.Errorf("it is for the logon of %q as %q, want %q", task.LogonOf, task.Principal, u.Account)
		}
		if task.Command != u.Binary || task.Arguments != arguments || task.Limit != "PT0S" {
			t.Errorf("it runs %q with %q for %s, want %q with %q", task.Command, task.Arguments, task.Limit, u.Binary, arguments)
		}
	}
	check(autostart.Unit{
		Binary:  `C:\Program Files\数据 & more\proxycast.exe`,
		Config:  `C:\Users\é 100%\config.json`,
		Account: `HOME\王`,
	}, `serve -config "C:\Users\é 100%\config.json"`)
	check(autostart.Unit{Binary: "p.exe", Config: `a\"b"c`}, `serve -config "a\\\"b\"c"`)
}

// wellFormed reads all of an XML text.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

func TestUnitCheck(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Unix paths")
	}
	check := func(name string, change func(u *autostart.Unit), want ...string) {
		t.Run(name, func(t *testing.T) {
			u := unit("/srv/proxycast")
			change(&u)
			err := u.Check()
			if len(want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, autostart.ErrAutostart) {
				t.Fatalf("got %v, want ErrAutostart", err)
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
	check("good", func(u *autostart.Unit) {})
	check("good for a user", func(u *autostart.Unit) { *u = unit("/tmp/x"); u.User, u.Account = true, "" })
	check("go run", func(u *autostart.Unit) { u.Binary = "/var/folders/go-build123/b001/exe/proxycast" }, "go build -o proxycast .")
	check("go run, cached", func(u *autostart.Unit) { u.Binary = "/home/me/.cache/go-build/1f/1f-d/proxycast" }, "go build -o proxycast .")
	check("go run, cache elsewhere", func(u *autostart.Unit) { u.Binary = "/c/1f/" + strings.Repeat("1f", 32) + "-d/proxycast" }, "go build -o proxycast .")
	check("quote", func(u *autostart.Unit) { u.Binary = "/srv/it's/proxycast" }, "systemd starts no such program")
	check("relative", func(u *autostart.Unit) { u.Config = "config.json" }, `"config.json" is not an absolute path`)
	check("control character", func(u *autostart.Unit) { u.Config = "/srv/a\nUser=root" }, "control character")
	check("temporary", func(u *autostart.Unit) { u.Config = "/tmp/x/config.json" }, "/tmp/x/config.json is temporary")
	check("root", func(u *autostart.Unit) { u.Account = "root" }, "useradd")
	check("all at once", func(u *autostart.Unit) { u.Account, u.Binary, u.Log = "", "x", "y" }, "useradd", `"x"`, `"y"`)
}

// fakeSystemctl puts a systemctl first in PATH that keeps what it is called
// with, one call a line, in the file that is given back.
func fakeSystemctl(t *testing.T, exit string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	harness.PlaceFile(t, filepath.Join(dir, "systemctl"), "#!/bin/sh\necho \"$*\" >>"+calls+"\necho systemctl speaks\nexit "+exit+"\n", 0o755)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return calls
}

func TestInstall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(t.TempDir(), "config"))
	file := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "systemd", "user", "proxycast.service")
	u := unit("/srv/proxycast")
	u.User = true
	wantCalls := func(t *testing.T, file string, want ...string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil || string(got) != strings.Join(want, "\n")+"\n" {
			t.Errorf("systemctl was called with %q (%v), want %q", got, err, want)
		}
	}

	t.Run("go run", func(t *testing.T) {
		calls := fakeSystemctl(t, "0")
		u := u
		u.Binary = "/x/go-build1/b001/exe/proxycast"
		if err := u.Install(t.Context(), io.Discard); !errors.Is(err, autostart.ErrAutostart) {
			t.Errorf("got %v, want ErrAutostart", err)
		}
		if _, err := os.Stat(calls); err == nil {
			t.Error("systemctl was called")
		}
	})
	t.Run("no systemctl", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		for _, do := range []error{u.Install(t.Context(), io.Discard), u.Status(t.Context(), io.Discard)} {
			if !errors.Is(do, autostart.ErrAutostart) || !strings.Contains(do.Error(), "there is no systemctl") {
				t.Errorf("got %v", do)
			}
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a file was written")
		}
	})
	t.Run("not installed", func(t *testing.T) {
		fakeSystemctl(t, "0")
		if err := u.Uninstall(t.Context(), io.Discard); !errors.Is(err, autostart.ErrAutostart) || !strings.Contains(err.Error(), "not installed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("installed, asked, removed", func(t *testing.T) {
		calls := fakeSystemctl(t, "0")
		var out strings.Builder
		if err := u.Install(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != startupFile(t, u, "systemd") {
			t.Errorf("the file is %q (%v)", text, err)
		}
		for _, want := range []string{"wrote " + file, "systemctl speaks", "enable-linger"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("it told %q, not %q", out.String(), want)
			}
		}
		if err := u.Status(t.Context(), io.Discard); err != nil {
			t.Error(err)
		}
		if err := u.Uninstall(t.Context(), io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the file is still there")
		}
		wantCalls(t, calls,
			"--user daemon-reload", "--user enable proxycast.service", "--user restart proxycast.service",
			"--user status --no-pager proxycast.service",
			"--user disable --now proxycast.service", "--user daemon-reload")
	})
	t.Run("systemctl fails", func(t *testing.T) {
		calls := fakeSystemctl(t, "3")
		var out strings.Builder
		if err := u.Status(t.Context(), &out); !errors.Is(err, autostart.ErrAutostart) || !strings.Contains(out.String(), "speaks") {
			t.Errorf("got %v, told %q", err, out.String())
		}
		if err := u.Install(t.Context(), io.Discard); !errors.Is(err, autostart.ErrAutostart) || !strings.Contains(err.Error(), "systemctl --user daemon-reload") {
			t.Errorf("got %v", err)
		}
		wantCalls(t, calls, "--user status --no-pager proxycast.service", "--user daemon-reload")
	})
}

func TestNotify(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs datagram sockets in the file system")
	}
	dir, err := os.MkdirTemp("", "pc") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	check := func(name, socket string) {
		t.Run(name, func(t *testing.T) {
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			t.Setenv("NOTIFY_SOCKET", socket)
			for _, state := range []string{"READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "STOPPING=1"} {
				if err := autostart.Notify(state); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 100)
				manager.SetReadDeadline(time.Now().Add(10 * time.Second))
				n, err := manager.Read(got)
				if err != nil || string(got[:n]) != state {
					t.Errorf("the manager got %q (%v), want %q", got[:n], err, state)
				}
			}
		})
	}
	check("path", filepath.Join(dir, "notify"))
	if runtime.GOOS == "linux" {
		check("abstract", "@proxycast-test-"+filepath.Base(dir))
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		if err := autostart.Notify("READY=1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "gone"))
		if err := autostart.Notify("READY=1"); !errors.Is(err, autostart.ErrAutostart) {
			t.Errorf("got %v, want ErrAutostart", err)
		}
	})
}
