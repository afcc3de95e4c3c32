package auth_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"proxycast/auth"
)

// check runs Check and gives the faults and warnings as "path: message".
func check(cfg auth.Config) (faults, warnings []string) {
	cfg.Check(
		func(path, message string) { faults = append(faults, path+": "+message) },
		func(path, message string) { warnings = append(warnings, path+": "+message) },
	)
	return faults, warnings
}

func TestConfigCheck(t *testing.T) {
	// Each want is the beginning of one message.
	f := func(keys []auth.KeyConfig, wantFaults, wantWarnings []string) {
		t.Helper()
		faults, warnings := check(auth.Config{Enabled: true, Keys: keys})
		if !slices.EqualFunc(faults, wantFaults, strings.HasPrefix) {
			t.Errorf("faults\n got %q\nwant %q", faults, wantFaults)
		}
		if !slices.EqualFunc(warnings, wantWarnings, strings.HasPrefix) {
			t.Errorf("warnings\n got %q\nwant %q", warnings, wantWarnings)
		}
	}
	fault := func(key auth.KeyConfig, want ...string) {
		t.Helper()
		f([]auth.KeyConfig{key}, want, nil)
	}
	warning := func(key auth.KeyConfig, want ...string) {
		t.Helper()
		f([]auth.KeyConfig{key}, nil, want)
	}
	named := func(name string) auth.KeyConfig { return auth.KeyConfig{Name: name, Key: devKey} }
	with := func(key string) auth.KeyConfig { return auth.KeyConfig{Name: "dev", Key: key} }

	f(nil, nil, nil)
	f([]auth.KeyConfig{
		{Name: "开发环境", Key: devKey, Admin: true},
		{Name: "ci", KeySHA256: auth.Digest(ciKey), Models: []string{"gpt-*", "*"}, Expires: time.Now().Add(time.Hour)},
		{Name: strings.Repeat("语", 64), KeyFile: "no file is opened"},
	}, nil, nil)

	fault(named(""), "keys[0].name: is missing")
	fault(named(" \u3000"), "keys[0].name: is missing")
	fault(named(strings.Repeat("语", 65)), "keys[0].name: has more than 64 characters")
	fault(named("a\nb"), "keys[0].name: has a control character")
	fault(named("a\x7fb"), "keys[0].name: has a control character")
	fault(named("a\u2028b"), "keys[0].name: has a control character")
	fault(named("a\u202eb"), "keys[0].name: has a control character")

	fault(auth.KeyConfig{Name: "dev"}, "keys[0]: has no key")
	fault(auth.KeyConfig{Name: "dev", Key: devKey, KeyFile: "f"}, "keys[0]: has key and key_file; keep one")
	fault(auth.KeyConfig{Name: "dev", Key: devKey, KeySHA256: auth.Digest(devKey), KeyFile: "f"},
		"keys[0]: has key and key_sha256 and key_file; keep one")

	fault(auth.KeyConfig{Name: "dev", KeySHA256: devKey}, "keys[0].key_sha256: is not 64 hexadecimal digits")
	fault(auth.KeyConfig{Name: "dev", KeySHA256: strings.Repeat("g", 64)}, "keys[0].key_sha256: is not 64")
	fault(auth.KeyConfig{Name: "dev", KeySHA256: auth.Digest(devKey) + "00"}, "keys[0].key_sha256: is not 64")

	for _, sample := range []string{"your-api-key", "changeme", "sk-xxx", "dev-key-xxx", "prod-key-xxx", "CHANGEME", "Your-API-Key"} {
		fault(with(sample), "keys[0].key: is a published sample")
	}
	for _, key := range []string{
		"0123456789 abcdef", "0123456789abcdef\n", "\t0123456789abcdef", "0123456789\x00abcdef", "0123456789abcdef\x7f",
		"0123456789\u00a0abcdef", "\ufeff0123456789abcdef", "0123456789\u5bc6abcdef",
	} {
		fault(with(key), "keys[0].key: has white space, a control character or one that is not ASCII")
	}
	warning(with("0123456789abcde"), "keys[0].key: has fewer than 16 characters")
	warning(with("0123456789abcdef"))

	fault(auth.KeyConfig{Name: "dev", Key: devKey, Models: []string{"gpt-*", "", " "}}, "keys[0].models[1]: is empty", "keys[0].models[2]: is empty")
	warning(auth.KeyConfig{Name: "dev", Key: devKey, Expires: time.Now().Add(-time.Hour)}, "keys[0].expires: is in the past")

	f([]auth.KeyConfig{named("a"), {Name: "b", Key: ciKey}, {Name: "a", Key: opsKey}}, []string{"keys[2].name: is the name of keys[0] too"}, nil)
	f([]auth.KeyConfig{named("a"), {Name: "b", Key: ciKey}, {Name: "c", Key: devKey}}, []string{"keys[2]: has the key of keys[0]"}, nil)
	f([]auth.KeyConfig{named("a"), {Name: "b", KeySHA256: auth.Digest(devKey)}}, []string{"keys[1]: has the key of keys[0]"}, nil)
	f([]auth.KeyConfig{{Name: "a", KeySHA256: auth.Digest(devKey)}, {Name: "b", KeySHA256: strings.ToUpper(auth.Digest(devKey))}},
		[]string{"keys[1]: has the key of keys[0]"}, nil)
	f([]auth.KeyConfig{{Key: ciKey}, {}}, []string{"keys[0].name: is missing", "keys[1].name: is missing", "keys[1]: has no key"}, nil)
}

// TestNewFaults shows that New joins what Check finds with what only the files tell.
func TestNewFaults(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	admin := filepath.Join(dir, "data", "admin.key")
	f := func(keys []auth.KeyConfig, want ...string) {
		t.Helper()
		k, err := auth.New(auth.Config{Enabled: true, Keys: keys, AdminKeyFile: admin}, nil)
		if k != nil || err == nil {
			t.Fatalf("%v, %v; want a fault", k, err)
		}
		if got := strings.Split(err.Error(), "\n"); !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("faults\n got %q\nwant %q", got, want)
		}
		if _, err := os.Stat(admin); !os.IsNotExist(err) {
			t.Errorf("a faulty configuration made %s: %v", admin, err)
		}
	}
	file := func(path string) []auth.KeyConfig { return []auth.KeyConfig{{Name: "ops", KeyFile: path}} }

	f(file(filepath.Join(dir, "missing")), "auth: keys[0].key_file: cannot be read: ")
	f(file(dir), "auth: keys[0].key_file: is not a regular file")
	f(file(write("empty", " \r\n")), "auth: keys[0].key_file: is empty")
	f(file(write("two", opsKey+"\n"+ciKey+"\n")), "auth: keys[0].key_file: has white space")
	f(file(write("sample", "changeme\n")), "auth: keys[0].key_file: is a published sample")
	f(file(write("large", strings.Repeat("a", 5000))), "auth: keys[0].key_file: is larger than 4096 bytes")
	f([]auth.KeyConfig{{Name: "a", Key: opsKey}, {Name: "b", KeyFile: write("same", opsKey)}}, "auth: keys[1]: has the key of keys[0]")
	f([]auth.KeyConfig{{Name: "a", KeyFile: "missing"}, {Name: "a", Key: "sk-xxx"}, {Name: "c"}},
		"auth: keys[0].key_file: cannot be read", "auth: keys[1].name: is the name", "auth: keys[1].key: is a published", "auth: keys[2]: has no key")

	// A broken admin key file is told together with the rest.
	if err := os.Mkdir(filepath.Dir(admin), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(admin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := auth.New(auth.Config{Enabled: true, Keys: []auth.KeyConfig{{Name: "c"}}, AdminKeyFile: admin}, nil)
	if err == nil || !strings.Contains(err.Error(), "keys[0]: has no key") || !strings.Contains(err.Error(), admin) {
		t.Errorf("error %v", err)
	}
}

// TestNoErrorQuotesAKey plants keys wherever one may stand, also by mistake, and
// reads every text that the package gives.
func TestNoErrorQuotesAKey(t *testing.T) {
	const canary = "pc_CANARYcanaryCANARYcanaryCANARY0123"
	var texts []string
	record := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("want an error")
			return
		}
		texts = append(texts, err.Error())
	}
	dir := t.TempDir()
	write := func(text string) string {
		t.Helper()
		f, err := os.CreateTemp(dir, "key")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}

	for _, faulty := range [][]auth.KeyConfig{
		{{Key: canary}},
		{{Name: "a\n" + canary, Key: canary}},
		{{Name: canary, Key: canary}, {Name: canary, Key: canary}},
		{{Name: "a", Key: canary + " "}},
		{{Name: "a", Key: "canary canary"}},
		{{Name: "a", Key: canary, KeySHA256: canary, KeyFile: canary}},
		{{Name: "a", KeySHA256: canary}},
		{{Name: "a", KeyFile: canary}},
		{{Name: "a", KeyFile: filepath.Join(dir, canary)}},
		{{Name: "a", KeyFile: write(canary + "\n" + canary)}},
		{{Name: "a", KeyFile: write(strings.Repeat(canary, 200))}},
		{{Name: "a", KeyFile: write(canary)}, {Name: "b", KeySHA256: auth.Digest(canary)}},
		{{Name: "a", Key: canary, Models: []string{""}}},
	} {
		cfg := auth.Config{Enabled: true, Keys: faulty}
		_, err := auth.New(cfg, nil)
		record(err)
		faults, warnings := check(cfg)
		texts = append(append(texts, faults...), warnings...)
	}
	_, warnings := check(auth.Config{Keys: []auth.KeyConfig{{Name: "a", Key: "canary", Expires: time.Unix(1, 0)}}})
	texts = append(texts, warnings...)

	for _, admin := range []string{write(canary + canary), write(canary + "\n" + canary)} {
		_, err := auth.New(auth.Config{Enabled: true, AdminKeyFile: admin}, nil)
		record(err)
	}
	_, err := auth.New(auth.Config{Enabled: true, Keys: []auth.KeyConfig{{Name: "a", Key: canary[:35]}}, AdminKeyFile: write(canary[:35])}, nil)
	record(err)

	k := keys(t, auth.KeyConfig{Name: "a", Key: canary, Models: []string{"gpt-*"}},
		auth.KeyConfig{Name: "old", Key: canary + "old", Expires: time.Unix(1, 0)})
	for _, h := range []map[string][]string{
		{"Authorization": {canary}},
		{"Authorization": {"Basic " + canary}},
		{"Authorization": {"Bearer " + canary, canary}},
		{"Authorization": {"Bearer " + canary + "x"}},
		{"Authorization": {"Bearer " + canary + "old"}},
		{"X-Api-Key": {canary + " "}},
	} {
		_, err := k.Check(h)
		record(err)
	}
	key, err := k.Check(header("x-api-key", canary))
	if err != nil {
		t.Fatal(err)
	}
	err = key.Permit(canary)
	record(err)

	if len(texts) < 30 {
		t.Errorf("only %d texts were read", len(texts))
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), "canary") {
			t.Errorf("key material in %q", text)
		}
		for _, key := range []string{canary, canary + "old", canary[:35]} {
			if strings.Contains(text, auth.Digest(key)[:8]) {
				t.Errorf("a digest in %q", text)
			}
		}
	}
}
