package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"proxycast/auth"
)

const (
	devKey = "pc_dev000000000000000000000000000000"
	ciKey  = "pc_ci0000000000000000000000000000000"
	opsKey = "ops-key-of-the-owner"
)

// keys compiles a configuration of named keys, without a generated one.
func keys(t testing.TB, configs ...auth.KeyConfig) *auth.Keys {
	t.Helper()
	k, err := auth.New(auth.Config{Enabled: true, Keys: configs}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// header is made of pairs of name and value.
func header(pairs ...string) http.Header {
	h := make(http.Header)
	for pair := range slices.Chunk(pairs, 2) {
		h.Add(pair[0], pair[1])
	}
	return h
}

// name is the name of the key that h carries, or "" and the error.
func name(k *auth.Keys, h http.Header) (string, error) {
	key, err := k.Check(h)
	if key == nil {
		return "", err
	}
	return key.Name, err
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ops.key")
	if err := os.WriteFile(file, []byte(opsKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := keys(t,
		auth.KeyConfig{Name: "开发环境", Key: devKey, Admin: true},
		auth.KeyConfig{Name: "ci", KeySHA256: strings.ToUpper(auth.Digest(ciKey))},
		auth.KeyConfig{Name: "ops", KeyFile: file},
		auth.KeyConfig{Name: "old", Key: "an-old-expired-key", Expires: time.Now().Add(-time.Hour)},
		auth.KeyConfig{Name: "fresh", Key: "a-key-that-expires", Expires: time.Now().Add(time.Hour)},
	)
	f := func(h http.Header, wantName string, wantErr error) {
		t.Helper()
		got, err := name(k, h)
		if got != wantName || !errors.Is(err, wantErr) {
			t.Errorf("%q: key %q, error %v; want %q, %v", h, got, err, wantName, wantErr)
		}
	}
	bearer := func(key string) http.Header { return header("Authorization", "Bearer "+key) }
	both := func(authorization, apiKey string) http.Header {
		return header("Authorization", authorization, "x-api-key", apiKey)
	}

	f(bearer(devKey), "开发环境", nil)
	f(bearer(ciKey), "ci", nil)
	f(bearer(opsKey), "ops", nil)
	f(bearer("a-key-that-expires"), "fresh", nil)
	f(header("x-api-key", devKey), "开发环境", nil)
	f(header("Authorization", "bEARER   "+ciKey), "ci", nil)

	f(header(), "", auth.ErrNoKey)
	f(header("Cookie", "key="+devKey, "Api-Key", devKey, "Proxy-Authorization", "Bearer "+devKey), "", auth.ErrNoKey)
	f(header("Authorization", ""), "", auth.ErrBadKey)
	f(header("x-api-key", ""), "", auth.ErrBadKey)
	f(both("", ""), "", auth.ErrBadKey)
	f(header("Authorization", devKey), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer"), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer "), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer\t"+devKey), "", auth.ErrBadKey)
	f(header("Authorization", " Bearer "+devKey), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer"+devKey), "", auth.ErrBadKey)
	f(header("Authorization", "Basic "+devKey), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer Bearer "+devKey), "", auth.ErrBadKey)
	f(header("x-api-key", "Bearer "+devKey), "", auth.ErrBadKey)
	f(bearer(devKey+" "), "", auth.ErrBadKey)
	f(bearer(devKey+","+ciKey), "", auth.ErrBadKey)
	f(bearer(devKey[:len(devKey)-1]), "", auth.ErrBadKey)
	f(bearer(devKey+"0"), "", auth.ErrBadKey)
	f(bearer(devKey+"\x00"), "", auth.ErrBadKey)
	f(bearer(strings.ToUpper(devKey)), "", auth.ErrBadKey)
	f(bearer(auth.Digest(ciKey)), "", auth.ErrBadKey)
	f(bearer(file), "", auth.ErrBadKey)
	f(bearer(strings.Repeat("a", 1<<20)), "", auth.ErrBadKey)
	f(bearer("an-old-expired-key"), "", auth.ErrExpired)

	// The same header twice, in either order.
	f(header("Authorization", "Bearer "+devKey, "Authorization", "Bearer "+devKey), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer "+devKey, "Authorization", "Bearer stale"), "", auth.ErrBadKey)
	f(header("Authorization", "Bearer stale", "Authorization", "Bearer "+devKey), "", auth.ErrBadKey)
	f(header("Authorization", "", "Authorization", "Bearer "+devKey), "", auth.ErrBadKey)
	f(header("x-api-key", devKey, "x-api-key", devKey), "", auth.ErrBadKey)
	f(header("x-api-key", devKey, "x-api-key", "stale"), "", auth.ErrBadKey)
	f(header("x-api-key", "stale", "x-api-key", "stale", "Authorization", "Bearer "+devKey), "", auth.ErrBadKey)

	// Both headers.
	f(both("Bearer "+devKey, devKey), "开发环境", nil)
	f(both("Bearer "+devKey, "sk-ant-stale"), "开发环境", nil)
	f(both("Bearer sk-stale", ciKey), "ci", nil)
	f(both("Basic dTpw", ciKey), "ci", nil)
	f(both("Bearer "+devKey, ""), "开发环境", nil)
	f(both("", ciKey), "ci", nil)
	f(both("Bearer an-old-expired-key", ciKey), "ci", nil)
	f(both("Bearer "+ciKey, "an-old-expired-key"), "ci", nil)
	f(both("Bearer "+devKey, ciKey), "", auth.ErrBadKey)
	f(both("Bearer "+ciKey, devKey), "", auth.ErrBadKey)
	f(both("Bearer stale", "stale"), "", auth.ErrBadKey)
	f(both("Bearer an-old-expired-key", "stale"), "", auth.ErrExpired)

	want := []string{"开发环境", "ci", "ops", "old", "fresh"}
	if got := k.Names(); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if key, err := k.Check(bearer(devKey)); err != nil || !key.Admin {
		t.Errorf("%v, %v: want an admin key", key, err)
	}
	if key, err := k.Check(bearer(ciKey)); err != nil || key.Admin {
		t.Errorf("%v, %v: want no admin key", key, err)
	}
}

func TestNoKeysAtAll(t *testing.T) {
	k := keys(t)
	if got, err := name(k, header("x-api-key", "x")); got != "" || !errors.Is(err, auth.ErrBadKey) {
		t.Errorf("key %q, error %v", got, err)
	}
	if len(k.Names()) != 0 {
		t.Errorf("names %q", k.Names())
	}
}

func TestDisabled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data", "admin.key")
	k, err := auth.New(auth.Config{
		Keys:         []auth.KeyConfig{{Name: "dev", Key: devKey}, {Name: "ops", KeyFile: "no such file"}},
		AdminKeyFile: file,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []http.Header{
		header(), header("x-api-key", "x", "x-api-key", "x"), header("x-api-key", devKey), header("Authorization", "Basic dTpw"),
	} {
		if key, err := k.Check(h); err != nil || key.Name != "anonymous" || !key.Admin {
			t.Errorf("%q: %v, %v; want the anonymous admin", h, key, err)
		}
	}
	if got := k.Names(); !slices.Equal(got, []string{"anonymous"}) {
		t.Errorf("names %q", got)
	}
	if key, _, _ := k.Generated(); key != "" {
		t.Error("an admin key was generated")
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the admin key file: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keys(t, auth.KeyConfig{Name: "ci", Key: ciKey, Expires: time.Now().Add(time.Hour)})
		h := header("x-api-key", ciKey)

		time.Sleep(time.Hour - time.Nanosecond)
		key, err := k.Check(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := key.Begin(); err != nil {
			t.Error(err)
		}

		time.Sleep(time.Nanosecond)
		if got, err := name(k, h); got != "" || !errors.Is(err, auth.ErrExpired) {
			t.Errorf("key %q, error %v; want %v", got, err, auth.ErrExpired)
		}
		done, err := key.Begin()
		if !errors.Is(err, auth.ErrExpired) {
			t.Errorf("error %v; want %v", err, auth.ErrExpired)
		}
		done(1)
	})
}

func TestModels(t *testing.T) {
	f := func(patterns []string, model string, want bool) {
		t.Helper()
		key, err := keys(t, auth.KeyConfig{Name: "ci", Key: ciKey, Models: patterns}).Check(header("x-api-key", ciKey))
		if err != nil {
			t.Fatal(err)
		}
		if got := key.Allows(model); got != want {
			t.Errorf("%q allows %.60q: %v, want %v", patterns, model, got, want)
		}
		err = key.Permit(model)
		if want && err != nil || !want && !errors.Is(err, auth.ErrModel) {
			t.Errorf("%q permits %.60q: %v", patterns, model, err)
		}
	}
	f(nil, "gpt-4o", true)
	f(nil, "", true)
	f([]string{"*"}, "", true)
	f([]string{"*"}, "openai/gpt-4o", true)
	f([]string{"gpt-*"}, "gpt-4o", true)
	f([]string{"gpt-*"}, "gpt-", true)
	f([]string{"gpt-*"}, "gpt", false)
	f([]string{"gpt-*"}, "GPT-4o", false)
	f([]string{"gpt-*"}, "my-gpt-4o", false)
	f([]string{"gpt-4o"}, "gpt-4o", true)
	f([]string{"gpt-4o"}, "gpt-4o-mini", false)
	f([]string{"gpt-4o"}, "", false)
	f([]string{"*-mini"}, "gpt-4o-mini", true)
	f([]string{"*-mini"}, "gpt-4o-mini-2", false)
	f([]string{"claude-*-4-*"}, "claude-sonnet-4-5", true)
	f([]string{"claude-*-4-*"}, "claude-4-5", false)
	f([]string{"a*a"}, "a", false)
	f([]string{"a*a"}, "aa", true)
	f([]string{"a*b*c"}, "abbc", true)
	f([]string{"a*b*c"}, "acb", false)
	f([]string{"a**c"}, "abc", true)
	f([]string{"*b*b*"}, "abc", false)
	f([]string{"claude-*", "gpt-*"}, "gpt-4o", true)
	f([]string{"claude-*", "gpt-*"}, "o3", false)
	f([]string{"gpt-?"}, "gpt-4", false)
	f([]string{"gpt-[0-9]"}, "gpt-4", false)

	// A pattern that makes a matcher with backtracking take for ever.
	f([]string{strings.Repeat("*a", 100) + "*b"}, strings.Repeat("a", 100_000), false)
}

func TestBeginSaysWhichModels(t *testing.T) {
	key, err := keys(t, auth.KeyConfig{Name: "ci", Key: ciKey, Models: []string{"gpt-*", "o3"}}).Check(header("x-api-key", ciKey))
	if err != nil {
		t.Fatal(err)
	}
	err = key.Permit("claude")
	if err == nil || !strings.Contains(err.Error(), `"ci"`) || !strings.Contains(err.Error(), "gpt-*, o3") {
		t.Errorf("error %v", err)
	}
}

func TestGenerate(t *testing.T) {
	const n = 5000
	counts := make(map[rune]int)
	seen := make(map[string]bool)
	for range n {
		key := auth.Generate()
		random, ok := strings.CutPrefix(key, "pc_")
		if !ok || len(random) != 32 || seen[key] {
			t.Fatalf("%q", key)
		}
		seen[key] = true
		for _, r := range random {
			counts[r]++
		}
	}
	if len(counts) != 62 {
		t.Errorf("%d different characters, want 62", len(counts))
	}
	// Each count is binomial with mean 2580.6 and deviation 50.4. Taking bytes
	// modulo 62 would give some characters 3125.
	for r, count := range counts {
		if count < 2200 || count > 2960 {
			t.Errorf("%q came %d times in %d", r, count, n*32)
		}
	}
}

func TestDigest(t *testing.T) {
	// FIPS 180-4, the example "abc".
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := auth.Digest("abc"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// manyKeys is a header with the last of n keys.
func manyKeys(t testing.TB, n int) (*auth.Keys, http.Header) {
	var configs []auth.KeyConfig
	var last string
	for i := range n {
		last = auth.Generate()
		configs = append(configs, auth.KeyConfig{Name: fmt.Sprint("key ", i), Key: last})
	}
	return keys(t, configs...), header("Authorization", "Bearer "+last)
}

func TestCheckAllocatesNothing(t *testing.T) {
	k, h := manyKeys(t, 10)
	if got := testing.AllocsPerRun(100, func() {
		if _, err := k.Check(h); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint("keys=", n), func(b *testing.B) {
			k, h := manyKeys(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Check(h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBegin(b *testing.B) {
	k := keys(b, auth.KeyConfig{Name: "ci", Key: ciKey, Models: []string{"claude-*", "gpt-*-mini"}})
	key, err := k.Check(header("x-api-key", ciKey))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		done, err := key.Begin()
		if err != nil {
			b.Fatal(err)
		}
		done(100)
	}
}

// FuzzAuthorization holds the parser against a plain reading of its contract: an
// identity is given for exactly a configured key in exactly the two forms.
func FuzzAuthorization(f *testing.F) {
	const key, old = "sk~key", "sk~old"
	for _, authorization := range []string{
		"", "-", "Bearer " + key, "bearer  " + key, "BEARER " + key + " ", "Bearer\t" + key, "Basic " + key, key, "Bearer " + old, "Bearer", "Bearer  ",
		"Bearer " + key + "\nBearer " + key,
	} {
		for _, apiKey := range []string{"", "-", key, old, " " + key, "Bearer " + key, "\x00", key + "\n" + key} {
			f.Add(authorization, apiKey)
		}
	}
	k := keys(f, auth.KeyConfig{Name: "it", Key: key}, auth.KeyConfig{Name: "old", Key: old, Expires: time.Unix(1, 0)})

	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		// "-" is an absent header; a line feed parts two of the same name.
		h := make(http.Header)
		if authorization != "-" {
			h["Authorization"] = strings.Split(authorization, "\n")
		}
		if apiKey != "-" {
			h["X-Api-Key"] = strings.Split(apiKey, "\n")
		}
		isBearer := func(key string) bool {
			spaces, ok := strings.CutSuffix(authorization, key)
			return ok && len(spaces) > len("Bearer") && strings.ToLower(spaces[:6]) == "bearer" && strings.Trim(spaces[6:], " ") == ""
		}
		once := len(h["Authorization"]) < 2 && len(h["X-Api-Key"]) < 2
		valid := once && (isBearer(key) || apiKey == key)

		got, err := k.Check(h)
		switch {
		case valid && (err != nil || got == nil || got.Name != "it"):
			t.Errorf("%q: %v, %v; want the key", h, got, err)
		case !valid && (got != nil || err == nil):
			t.Errorf("%q: %v, %v; want an error alone", h, got, err)
		case errors.Is(err, auth.ErrNoKey) != (len(h) == 0):
			t.Errorf("%q: %v", h, err)
		case errors.Is(err, auth.ErrExpired) != (once && !valid && (isBearer(old) || apiKey == old)):
			t.Errorf("%q: %v", h, err)
		}
	})
}
