package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"proxycast/auth"
)

// References: what a string of the file takes from the environment or another file.

// expandReferences replaces ${NAME} by the variable, ${file:path} by the
// file's content without one line end, and $$ by a dollar. Any other dollar
// stands for itself. Relative paths start at dir. An error never quotes what was read.
func expandReferences(text, dir string, getenv func(string) (string, bool)) (expansion, error) {
	x := expansion{literal: true}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			x.text = out.String()
			return x, nil
		}
		if text, found = strings.CutPrefix(after, "$"); found {
			out.WriteByte('$')
			continue
		}
		if text, found = strings.CutPrefix(after, "{"); !found {
			out.WriteByte('$')
			continue
		}
		name, rest, closed := strings.Cut(text, "}")
		if !closed {
			return x, errors.New("${ without }; a literal dollar is written $$")
		}
		text = rest
		x.literal = false
		if path, isFile := strings.CutPrefix(name, "file:"); isFile {
			content, err := readReferenced(path, dir)
			if err != nil {
				return x, err
			}
			out.WriteString(content)
			x.values = append(x.values, content)
			continue
		}
		if !isVariable(name) {
			// Not quoted: it may be a secret that was put in by mistake.
			return x, errors.New("a reference is ${NAME}, with letters, digits and _, or ${file:path}")
		}
		value, _ := getenv(name)
		if value == "" {
			x.unset = append(x.unset, name)
		} else {
			x.values = append(x.values, value)
		}
		out.WriteString(value)
	}
}

// expansion is a string of the config file after its references are resolved.
type expansion struct {
	text    string
	literal bool     // nothing came from elsewhere
	values  []string // what came from elsewhere
	unset   []string // the variables that are unset or empty; text lacks them
}

func isVariable(name string) bool {
	return name != "" && strings.TrimFunc(name, func(r rune) bool { return r != '-' && isHostRune(r) }) == ""
}

// maxReferencedFile bounds what ${file:path} reads: a secret, not a document.
const maxReferencedFile = 64 << 10

// readReferenced returns the content of a file without its one line end. An empty file is
// an error, like an unset variable. No error quotes path, where someone may have put a secret.
func readReferenced(path, dir string) (string, error) {
	if path == "" {
		return "", errors.New("${file:} names no file")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	content, _, err := auth.ReadFile(path, maxReferencedFile)
	switch {
	case errors.Is(err, auth.ErrNotRegular):
		return "", errors.New("the file of ${file:…} is not a regular file")
	case errors.Is(err, auth.ErrTooLarge):
		return "", errors.New("the file of ${file:…} is larger than 64 KiB")
	case err != nil:
		return "", fmt.Errorf("the file of ${file:…} cannot be read: %w; a relative path starts at the config file's folder", reasonOf(err))
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if value == "" {
		return "", errors.New("the file of ${file:…} is empty")
	}
	return value, nil
}

// reasonOf returns err without the file that it names.
func reasonOf(err error) error {
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		return named.Err
	}
	return err
}
