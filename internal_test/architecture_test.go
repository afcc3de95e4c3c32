// Architecture: the arrows between our packages, what we depend on, the size of files.
package gateway_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "proxycast"

// arrows is every import between our packages that the plan allows.
var arrows = map[string][]string{
	"":                 {"server"},
	"server":           {"server/config", "server/autostart", "auth", "cors", "logs", "upstream", "upstream/dialect"},
	"server/config":    {"auth", "cors", "logs", "upstream"},
	"server/autostart": nil,
	"upstream":         {"upstream/dialect", "upstream/demo", "upstream/http1"},
	"auth":             nil,
	"cors":             nil,
	"logs":             nil,
	"upstream/dialect": nil,
	"upstream/http1":   nil,
	"upstream/demo":    {"upstream/dialect"}, // for the shapes of errors, which stand in one place
	"internal_test":    nil,

	"internal_test/bench":    nil,
	"internal_test/browser":  nil,
	"internal_test/failover": nil,
	"internal_test/harness":  nil, // for tests alone
}

func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func TestArrows(t *testing.T) {
	decoder := json.NewDecoder(bytes.NewReader(goTool(t, "list", "-json=ImportPath,Imports", "./...")))
	for decoder.More() {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		folder := strings.TrimPrefix(strings.TrimPrefix(pkg.ImportPath, module), "/")
		allowed, known := arrows[folder]
		if !known {
			t.Errorf("package %s has no place in the plan", pkg.ImportPath)
		}
		for _, path := range pkg.Imports {
			ours, isOurs := strings.CutPrefix(path, module+"/")
			switch {
			case isOurs && !slices.Contains(allowed, ours):
				t.Errorf("%s imports %s", pkg.ImportPath, path)
			case !isOurs && strings.Contains(path, ".") && !strings.HasPrefix(path, "golang.org/x/"):
				t.Errorf("%s imports %s", pkg.ImportPath, path)
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace, Exclude []any
	}
	if err := json.Unmarshal(goTool(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	direct := []string{"golang.org/x/net", "golang.org/x/sync"}
	indirect := []string{"golang.org/x/sys", "golang.org/x/text"}
	for _, need := range mod.Require {
		if !slices.Contains(direct, need.Path) && !(need.Indirect && slices.Contains(indirect, need.Path)) {
			t.Errorf("go.mod requires %s (indirect: %v)", need.Path, need.Indirect)
		}
	}
	if len(mod.Replace)+len(mod.Exclude) > 0 {
		t.Errorf("go.mod replaces or excludes: %v %v", mod.Replace, mod.Exclude)
	}
}

// A file is one idea, and one idea is not 600 lines.
func TestFileSizes(t *testing.T) {
	const most = 600
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == ".git" || name == "node_modules" || name == "internal_test" || name == "data") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if n := bytes.Count(text, []byte("\n")); n > most {
			t.Errorf("%s has %d lines, over %d", path, n, most)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
