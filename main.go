// ProxyCast is one address and one key for every AI provider.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"proxycast/auth"
	"proxycast/logs"
	"proxycast/server"
)

// Exit codes.
const (
	exitClean  = 0
	exitOther  = 1
	exitConfig = 2 // wrong usage or config
	exitBind   = 3 // the address cannot be bound
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// command is one subcommand. Its flags are read before run.
type command struct {
	usage string // what follows the name
	about string
	run   func(c *cli, args []string) int
}

func commands() map[string]command {
	return map[string]command{
		"serve":       {"", "listen and serve (the default)", (*cli).serve},
		"check":       {"", "validate the config, listen nowhere", (*cli).check},
		"genkey":      {"NAME", "print a new key and the config line that admits it", (*cli).genkey},
		"schema":      {"", "print the JSON Schema of the config", (*cli).schema},
		"version":     {"", "print the version", (*cli).version},
		"healthcheck": {"", "exit 0 if the gateway of this config is ready", (*cli).healthcheck},
	}
}

// cli is what a subcommand works with.
type cli struct {
	ctx            context.Context
	getenv         func(string) (string, bool)
	stdout, stderr io.Writer
	config         string
}

// run executes one command line and gives its exit code. Results go to stdout,
// talk to stderr.
func run(ctx context.Context, args []string, getenv func(string) (string, bool), stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	cmd, ok := commands()[name]
	if !ok {
		fmt.Fprintf(stderr, "proxycast: there is no command %q\n\n", name)
		usage(stderr)
		return exitConfig
	}
	c := &cli{ctx: ctx, getenv: getenv, stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.config, "config", "config.json", "the config `file`")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: proxycast %s [-config file] %s\n\n%s\n\n", name, cmd.usage, cmd.about)
		flags.PrintDefaults()
		if name == "serve" {
			fmt.Fprintln(stderr)
			usage(stderr)
		}
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitClean
	case err != nil:
		return exitConfig
	}
	if (cmd.usage == "") != (flags.NArg() == 0) || flags.NArg() > 1 {
		flags.Usage()
		return exitConfig
	}
	return cmd.run(c, flags.Args())
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "commands, each with -h and -config:")
	for _, name := range []string{"serve", "check", "genkey", "schema", "version", "healthcheck"} {
		cmd := commands()[name]
		fmt.Fprintf(w, "  %-18s %s\n", strings.TrimSpace(name+" "+cmd.usage), cmd.about)
	}
}

// load reads the config and says what is wrong with it.
func (c *cli) load() (*server.Config, bool) {
	cfg, err := server.Load(c.config, c.getenv)
	if err != nil {
		fmt.Fprintf(c.stderr, "%v\n", err)
		return nil, false
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", w)
	}
	return cfg, true
}

func (c *cli) serve([]string) int {
	cfg, ok := c.load()
	if !ok {
		return exitConfig
	}
	if _, set := c.getenv("GOGC"); !set {
		debug.SetGCPercent(400) // a tiny heap is collected too often to be fast; this costs a few megabytes
	}
	store, err := logs.Open(cfg.Logs)
	if err != nil {
		fmt.Fprintf(c.stderr, "%v\n", err)
		return exitOther
	}
	defer store.Close()
	s, err := server.New(cfg, store)
	if err != nil {
		fmt.Fprintf(c.stderr, "%v\n", err)
		return exitConfig
	}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		c.handle(signals, s, stop)
	}()
	err = s.Run(ctx, func(addr net.Addr) { io.WriteString(c.stdout, s.Banner(addr, isTerminal(c.stdout))) })
	signal.Stop(signals)
	close(signals)
	<-handled
	if err != nil {
		fmt.Fprintf(c.stderr, "%v\n", err)
		if errors.Is(err, server.ErrBind) {
			return exitBind
		}
		return exitOther
	}
	return exitClean
}

// handle acts on signals: SIGHUP reloads, the first SIGINT or SIGTERM stops
// gently, the second at once.
func (c *cli) handle(signals <-chan os.Signal, s *server.Server, stop func()) {
	stopping := false
	for sig := range signals {
		switch {
		case sig == syscall.SIGHUP:
			c.reload(s)
		case stopping:
			os.Exit(exitOther)
		default:
			stopping = true
			fmt.Fprintln(c.stderr, "proxycast: stopping; requests under way may finish, a second signal ends them")
			stop()
		}
	}
}

// reload puts the file as it is now in force, or keeps the old config.
func (c *cli) reload(s *server.Server) {
	cfg, err := server.Load(c.config, c.getenv)
	if err != nil {
		s.ReloadFailed(err)
	} else {
		err = s.Reload(cfg)
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "proxycast: the config was not reloaded, the old one stays:\n%v\n", err)
		return
	}
	fmt.Fprintln(c.stderr, "proxycast: config reloaded")
	if names := s.NeedRestart(); len(names) > 0 {
		fmt.Fprintf(c.stderr, "proxycast: %s takes effect at the next restart\n", strings.Join(names, ", "))
	}
}

func (c *cli) check([]string) int {
	cfg, ok := c.load()
	if !ok {
		return exitConfig
	}
	fmt.Fprintf(c.stdout, "%s is valid\n", cfg.Path)
	return exitClean
}

func (c *cli) genkey(args []string) int {
	key := auth.Generate()
	fmt.Fprintf(c.stdout, "%s\n{\"name\": %s, \"key_sha256\": \"%s\"}\n", key, strconv.Quote(args[0]), auth.Digest(key))
	fmt.Fprintln(c.stderr, "the first line is the key, for the client; the second goes into auth.keys of the config, which then need not hold the key")
	return exitClean
}

func (c *cli) schema([]string) int {
	c.stdout.Write(server.Schema())
	return exitClean
}

func (c *cli) version([]string) int {
	fmt.Fprintf(c.stdout, "proxycast %s %s %s/%s\n", server.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitClean
}

// healthcheck asks the gateway of this config whether it is ready.
func (c *cli) healthcheck([]string) int {
	cfg, ok := c.load()
	if !ok {
		return exitConfig
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate names the public host, the call goes to this machine
	}}
	res, err := client.Get(cfg.Server.URL() + "/readyz")
	if err != nil {
		fmt.Fprintf(c.stderr, "not reachable: %v\n", err)
		return exitOther
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		fmt.Fprintf(c.stderr, "not ready: %s\n", res.Status)
		return exitOther
	}
	fmt.Fprintln(c.stdout, "ready")
	return exitClean
}

// isTerminal reports whether a person reads what is written to w.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
