package server

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"proxycast/upstream/dialect"
)

// The dashboard's files. They are open: what they show is not.

//go:embed dashboard
var dashboardFiles embed.FS

// pagePolicy lets the page load its own files and call its own origin, nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is one file, ready to be sent.
type page struct {
	body        []byte
	contentType string
	etag        string
}

// loadPages reads the embedded files, by their path below /_ui/.
func loadPages() map[string]page {
	pages := map[string]page{}
	err := fs.WalkDir(dashboardFiles, "dashboard", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := dashboardFiles.ReadFile(name)
		if err != nil {
			return err
		}
		digest := sha256.Sum256(body)
		contentType := mime.TypeByExtension(path.Ext(name))
		switch path.Ext(name) { // the system's table may differ
		case ".js", ".mjs":
			contentType = "text/javascript; charset=utf-8"
		case ".css":
			contentType = "text/css; charset=utf-8"
		case ".svg":
			contentType = "image/svg+xml"
		}
		pages[strings.TrimPrefix(name, "dashboard/")] = page{body, contentType, `"` + hex.EncodeToString(digest[:8]) + `"`}
		return nil
	})
	if err != nil {
		panic(err) // embedded files can be read
	}
	return pages
}

// showPage answers GET /_ui/….
func showPage(x *exchange, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	p, ok := x.server.pages[name]
	if !ok {
		x.fail(dialect.Failure{Status: http.StatusNotFound, Code: "not_found", Message: "the dashboard has no such file"}, nil)
		return
	}
	h := x.Header()
	h["Content-Security-Policy"] = []string{pagePolicy}
	h["Referrer-Policy"] = []string{"no-referrer"}
	h["Cache-Control"] = []string{"no-cache"}
	h["Etag"] = []string{p.etag}
	if r.Header.Get("If-None-Match") == p.etag {
		x.WriteHeader(http.StatusNotModified)
		return
	}
	x.send(http.StatusOK, p.contentType, p.body)
}

// toDashboard sends a browser to the page.
func toDashboard(x *exchange, r *http.Request) {
	x.Header()["Location"] = []string{"/_ui/"}
	x.WriteHeader(http.StatusFound)
}
