package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"proxycast/auth"
)

// newAdmin compiles a configuration with an admin key file.
func newAdmin(t *testing.T, file string, configs ...auth.KeyConfig) *auth.Keys {
	t.Helper()
	k, err := auth.New(auth.Config{Enabled: true, Keys: configs, AdminKeyFile: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestAdminKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	file := filepath.Join(dir, "admin.key")
	k := newAdmin(t, file, auth.KeyConfig{Name: "ci", Key: ciKey})

	made, where, fresh := k.Generated()
	if !regexp.MustCompile(`^pc_[0-9A-Za-z]{32}$`).MatchString(made) || where != file || !fresh {
		t.Fatalf("generated %q, %q, %v", made, where, fresh)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != made+"\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if runtime.GOOS != "windows" && (mode(t, file) != 0o600 || mode(t, dir) != 0o700) {
		t.Errorf("modes %v and %v, want 0600 and 0700", mode(t, file), mode(t, dir))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v; want the file alone", entries, err)
	}
	if key, err := k.Check(header("x-api-key", made)); err != nil || key.Name != "admin" || !key.Admin {
		t.Errorf("the admin key gives %v, %v", key, err)
	}
	if got := k.Names(); !slices.Equal(got, []string{"ci", "admin"}) {
		t.Errorf("names %q", got)
	}

	again, _, fresh := newAdmin(t, file).Generated()
	if again != made || fresh {
		t.Errorf("the second start has another key (%v) or a fresh one (%v)", again != made, fresh)
	}
}

// TestAdminKeyIsNeeded shows when an admin key is made, and how it is named.
func TestAdminKeyIsNeeded(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "ops.key")
	if err := os.WriteFile(keyFile, []byte(opsKey), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, configs ...auth.KeyConfig) {
		t.Helper()
		k := newAdmin(t, filepath.Join(t.TempDir(), "admin.key"), configs...)
		key, _, _ := k.Generated()
		var got string
		if key != "" {
			got = k.Names()[len(configs)]
		}
		if got != want {
			t.Errorf("%+v: generated %q, want %q", configs, got, want)
		}
	}
	f("admin")
	f("admin", auth.KeyConfig{Name: "a", Key: devKey})
	f("admin", auth.KeyConfig{Name: "a", KeySHA256: auth.Digest(devKey), Admin: true})
	f("admin-file", auth.KeyConfig{Name: "admin", Key: devKey})
	f("admin-file-file", auth.KeyConfig{Name: "admin", Key: devKey}, auth.KeyConfig{Name: "admin-file", Key: ciKey})
	f("", auth.KeyConfig{Name: "a", Key: devKey, Admin: true})
	f("", auth.KeyConfig{Name: "a", Key: ciKey}, auth.KeyConfig{Name: "b", KeyFile: keyFile, Admin: true})
}

// TestClientKey shows when a key for clients is generated beside the admin key.
func TestClientKey(t *testing.T) {
	f := func(want string, configs ...auth.KeyConfig) {
		t.Helper()
		dir := t.TempDir()
		cfg := auth.Config{Enabled: true, Keys: configs, AdminKeyFile: filepath.Join(dir, "admin.key"), ClientKeyFile: filepath.Join(dir, "client.key")}
		k, err := auth.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		made, file, fresh := k.GeneratedClient()
		if want == "" {
			if made != "" || file != "" || fresh || cfg.GeneratesClientKey() {
				t.Errorf("%+v: generated a key in %q", configs, file)
			}
			return
		}
		key, err := k.Check(header("x-api-key", made))
		if err != nil || key.Name != want || key.Admin || file != cfg.ClientKeyFile || !fresh || mode(t, file) != 0o600 {
			t.Errorf("%+v: %v, %v, in %q, fresh %v", configs, key, err, file, fresh)
		}
		if again, err := auth.New(cfg, k); err != nil {
			t.Error(err)
		} else if same, _, fresh := again.GeneratedClient(); same != made || fresh {
			t.Errorf("the second start has another key (%v) or a fresh one (%v)", same != made, fresh)
		}
	}
	f("client")
	f("client-file", auth.KeyConfig{Name: "client", KeySHA256: auth.Digest(devKey), Admin: true})
	f("", auth.KeyConfig{Name: "a", Key: devKey})
	f("", auth.KeyConfig{Name: "a", Key: devKey, Admin: true})
}

// TestAdminKeyStartsAtOnce shows that starts at the same time end with one key,
// which one of them prints.
func TestAdminKeyStartsAtOnce(t *testing.T) {
	const starts = 16
	file := filepath.Join(t.TempDir(), "data", "admin.key")
	found, fresh := make([]string, starts), make([]bool, starts)
	var group sync.WaitGroup
	for i := range starts {
		group.Go(func() {
			k, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: file}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			found[i], _, fresh[i] = k.Generated()
		})
	}
	group.Wait()
	made := 0
	for i := range starts {
		if found[i] != found[0] {
			t.Errorf("start %d has another key", i)
		}
		if fresh[i] {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d starts made the key, want 1", made)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v; want the file alone", entries, err)
	}
}

func TestAdminKeyFileFaults(t *testing.T) {
	f := func(text string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "admin.key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: file}, nil)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "delete the file") {
			t.Errorf("%.50q: error %v", text, err)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%.50q: the file was changed: %.50q, %v", text, now, err)
		}
	}
	good := auth.Generate()
	f("")
	f("\n")
	f(good[:len(good)-1])
	f(good + "0")
	f(good + "\n" + good)
	f("xx_" + good[3:])
	f(good[:len(good)-1] + "-")
	f(good + strings.Repeat("\n", 10_000) + "x")
	f(strings.Repeat("a", 1<<20))

	// A folder in the file's place, a file in the folder's place.
	dir := t.TempDir()
	if _, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: dir}, nil); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "data", "admin.key")
	if _, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: file}, nil); err == nil || !strings.Contains(err.Error(), "data") {
		t.Errorf("no folder: error %v", err)
	}

	// The same key under another name.
	file = filepath.Join(t.TempDir(), "admin.key")
	key, _, _ := newAdmin(t, file).Generated()
	_, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: file, Keys: []auth.KeyConfig{{Name: "ci", Key: key}}}, nil)
	if err == nil || !strings.Contains(err.Error(), `"ci"`) || !strings.Contains(err.Error(), file) {
		t.Errorf("the same key: error %v", err)
	}
}

func TestAdminKeyFileIsTightened(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	file := filepath.Join(t.TempDir(), "admin.key")
	key := auth.Generate()
	if err := os.WriteFile(file, []byte(" "+key+"\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, _, fresh := newAdmin(t, file).Generated()
	if got != key || fresh {
		t.Errorf("key as written: %v, fresh %v", got == key, fresh)
	}
	if mode(t, file) != 0o600 {
		t.Errorf("mode %v, want 0600", mode(t, file))
	}
}
