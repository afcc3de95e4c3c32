package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Config is the "logs" section of config.json.
type Config struct {
	File     string `json:"file" default:"data/requests.jsonl" path:"true" doc:"The request log, one JSON object a line. Rotated files lie beside it."`
	MaxFile  int64  `json:"max_file" unit:"bytes" default:"64MiB" min:"64KiB" max:"1024TiB" doc:"The size at which the file is rotated."`
	MaxTotal int64  `json:"max_total" unit:"bytes" default:"1GiB" min:"128KiB" max:"1024TiB" doc:"What the file and the rotated ones may take together."`
	Ring     int    `json:"ring" default:"10000" min:"1" max:"1000000" doc:"How many of the newest records are kept in memory."`

	// Messages is where trouble with the disk is told. nil: os.Stderr.
	Messages io.Writer `json:"-"`
}

func (c Config) messages() io.Writer {
	if c.Messages == nil {
		return os.Stderr
	}
	return c.Messages
}

const (
	minMaxFile = 64 << 10 // room for the longest line
	maxRing    = 1_000_000
)

// CheckFile tells whether Open could have the log's file, if there is one. It changes nothing.
func (c Config) CheckFile() error {
	info, err := os.Stat(c.File)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it will be made
		return nil
	case err != nil:
		return fmt.Errorf("logs: file: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("logs: file: %s is not a regular file", c.File)
	case holdsOther(c.File):
		return fmt.Errorf("logs: file: %w: %s", ErrNotLog, c.File)
	}
	file, err := os.OpenFile(c.File, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("logs: file: %w", err)
	}
	return file.Close()
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
	switch filepath.Base(c.File) {
	case ".", "..", string(filepath.Separator):
		fault("file", "must name a file, as in data/requests.jsonl")
	}
	if c.MaxFile < minMaxFile {
		fault("max_file", "must be at least 64KiB")
	}
	if c.MaxTotal/2 < c.MaxFile {
		fault("max_total", "must be at least twice max_file")
	}
	if c.Ring < 1 || c.Ring > maxRing {
		fault("ring", "must be from 1 to 1000000")
	}
}
