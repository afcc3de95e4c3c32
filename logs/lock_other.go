//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package logs

import "os"

// lock does nothing here: nobody keeps two processes from one log.
func lock(*os.File) bool { return true }
