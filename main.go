// ProxyCast is one address and one key for every AI provider.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

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

// command is one subcommand.
type command struct {
	name  string
	usage string // what follows the name
	about string
	most  int // arguments, of which least are required
	least int
	bare  bool // it needs no config
	asks  bool // the running gateway: of the config it needs the address and a key, and makes do with a faulty one
	flags func(c *cli, flags *flag.FlagSet)
	run   func(c *cli, args []string) int
}

var commands = []command{
	{name: "serve", about: "listen and serve (the default)", run: (*cli).serve},
	{name: "check", about: "validate the config, listen nowhere", run: (*cli).check},
	{name: "genkey", usage: "NAME", about: "print a new key and the config line that admits it", most: 1, least: 1, bare: true, run: (*cli).genkey},
	{name: "schema", about: "print the JSON Schema of the config", bare: true, run: (*cli).schema},
	{name: "version", about: "print the version", bare: true, run: (*cli).version},
	{name: "healthcheck", asks: true, about: "exit 0 if the gateway of this config is ready", run: (*cli).healthcheck},
	{name: "status", asks: true, about: "show the state of the running gateway", run: (*cli).status},
	{name: "stop", asks: true, about: "have the running gateway answer 503 until start; what is under way finishes", run: steer("stop")},
	{name: "start", asks: true, about: "have a stopped gateway answer again", run: steer("start")},
	{name: "restart", asks: true, about: "have the running gateway read its config anew, address and log included", run: steer("restart")},
	{name: "reload", asks: true, about: "have the running gateway read its config anew", run: steer("reload")},
	{name: "logs", usage: "[-f] [FILTER=VALUE ...]", about: "show the request log of the running gateway, e.g. logs -f status=5xx model='gpt-*'", most: 64, asks: true,
		flags: func(c *cli, flags *flag.FlagSet) { flags.BoolVar(&c.follow, "f", false, "follow what comes") }, run: (*cli).logs},
	{name: "service", usage: "print|install|uninstall|status [-system]", about: "start the gateway with the machine or the login", most: 1, least: 1,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.system, "system", false, "a unit of the machine, not of your login")
			flags.StringVar(&c.account, "account", "", "who runs a system unit (default: who called sudo)")
			flags.StringVar(&c.form, "form", "", "for print: systemd, launchd or windows (default: this system's)")
		}, run: (*cli).service},
	{name: "snippet", usage: "CLIENT", about: "print the settings of a client: " + strings.Join(server.Snippets(), ", "), most: 1, least: 1, run: (*cli).snippet},
}

// cli is what a subcommand works with.
type cli struct {
	ctx            context.Context
	getenv         func(string) (string, bool)
	stdout, stderr io.Writer
	file           string         // -config
	config         *server.Config // loaded from it, unless the command is bare
	follow         bool           // logs -f
	system         bool           // service -system
	account, form  string         // service -account, -form
}

// run executes one command line and returns its exit code. Results go to stdout,
// talk to stderr.
func run(ctx context.Context, args []string, getenv func(string) (string, bool), stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	i := slices.IndexFunc(commands, func(cmd command) bool { return cmd.name == name })
	if i < 0 {
		fmt.Fprintf(stderr, "proxycast: there is no command %q\n\n", name)
		usage(stderr)
		return exitConfig
	}
	cmd := commands[i]
	c := &cli{ctx: ctx, getenv: getenv, stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.file, "config", "config.json", "the config `file`")
	if cmd.flags != nil {
		cmd.flags(c, flags)
	}
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: proxycast %s [-config file] %s\n\n%s\n\n", name, cmd.usage, cmd.about)
		flags.PrintDefaults()
		if name == "serve" {
			fmt.Fprintln(stderr)
			usage(stderr)
		}
	}
	rest, err := parseMixed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitClean
	case err != nil:
		return exitConfig
	case len(rest) < cmd.least || len(rest) > cmd.most:
		flags.Usage()
		return exitConfig
	}
	if !cmd.bare {
		c.config, err = server.Salvage(c.file, getenv)
		switch {
		case err == nil:
		case c.config == nil || !cmd.asks:
			return c.fail(err, exitConfig)
		default:
			fmt.Fprintf(stderr, "%v\nwarning: the config has faults; the gateway is looked for by what could be read of it\n", err)
		}
	}
	return cmd.run(c, rest)
}

// parseMixed sets the flags in args, which may stand behind other arguments, and returns
// the others.
func parseMixed(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// usage lists the commands.
func usage(w io.Writer) {
	fmt.Fprintln(w, "commands, each with -h and -config:")
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %-52s %s\n", strings.TrimSpace(cmd.name+" "+cmd.usage), cmd.about)
	}
}

// fail says what went wrong and returns its exit code.
func (c *cli) fail(err error, otherwise int) int {
	fmt.Fprintf(c.stderr, "%v\n", err)
	return exitCode(err, otherwise)
}

// exitCode returns exitBind where that is what went wrong, else otherwise.
func exitCode(err error, otherwise int) int {
	if errors.Is(err, server.ErrBind) {
		return exitBind
	}
	return otherwise
}

// warn says what of the config should not be.
func (c *cli) warn() {
	for _, w := range c.config.Warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", w)
	}
}

func (c *cli) serve([]string) int {
	c.warn()
	if _, set := c.getenv("GOGC"); !set {
		debug.SetGCPercent(400) // a tiny heap is collected too often to be fast; this costs a few megabytes
	}
	messages := server.NewMessages(c.stderr)
	defer messages.Close()
	log.SetOutput(messages)
	log.SetFlags(0)
	signal.Ignore(syscall.SIGPIPE) // whoever read stdout or stderr may be gone
	s, err := server.Open(c.config)
	if err != nil {
		return c.fail(err, exitConfig)
	}
	defer s.Close()
	messages.MaskWith(s.Mask)
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	reloads := make(chan struct{}, 1)
	go reloadOn(ctx, reloads, s)
	go mind(signals, reloads, s, stop)
	err = s.Run(ctx, func(addr net.Addr) {
		io.WriteString(c.stdout, s.Banner(addr, isTerminal(c.stdout)))
		notify("READY=1")
	})
	signal.Stop(signals)
	close(signals)
	switch {
	case err != nil:
		log.Print(err)
		return exitCode(err, exitOther)
	case s.Hurried():
		return exitOther
	}
	return exitClean
}

// mind acts on signals until there are no more: SIGHUP reloads, the first SIGINT or SIGTERM stops gently, the second at
// once. It waits for nothing, so that no reload and no reader of stderr can hold a signal up.
func mind(signals <-chan os.Signal, reloads chan<- struct{}, s *server.Server, stop func()) {
	stopping := false
	for sig := range signals {
		switch {
		case sig == syscall.SIGHUP:
			select {
			case reloads <- struct{}{}:
			default: // one is due already
			}
		case stopping:
			s.Hurry()
		default:
			stopping = true
			notify("STOPPING=1")
			log.Print("proxycast: stopping; requests under way may finish, a second signal ends them")
			stop()
		}
	}
}

// lookEvery is how often the config file is looked at for changes.
const lookEvery = time.Second

// reloadOn reloads when it is told to, and when the config file has changed. Nobody waits for its end: a file on a
// network mount can take forever.
func reloadOn(ctx context.Context, reloads <-chan struct{}, s *server.Server) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	pending := ""
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-reloads:
			reload(s, "SIGHUP")
		case <-look.C:
			switch now, changed := s.ConfigState(); {
			case !changed:
				pending = ""
			case now != pending: // it may be half written: wait until it stays as it is
				pending = now
			default:
				reload(s, "FILE")
			}
		}
	}
}

// notify tells systemd, if it started us, what we do.
func notify(state string) {
	if err := server.Notify(state); err != nil {
		log.Print(err)
	}
}

// reload puts the file as it is now in force, or keeps the old config.
func reload(s *server.Server, cause string) {
	notify("RELOADING=1")
	defer notify("READY=1")
	if err := s.ReloadFor(cause); err != nil {
		log.Printf("proxycast: the config was not reloaded, the old one stays:\n%v", err)
		return
	}
	log.Print("proxycast: config reloaded")
	if names := s.NeedRestart(); len(names) > 0 {
		log.Printf("proxycast: %s takes effect at the next restart", strings.Join(names, ", "))
	}
}

func (c *cli) check([]string) int {
	c.warn()
	if err := server.Check(c.config); err != nil {
		return c.fail(err, exitConfig)
	}
	fmt.Fprintf(c.stdout, "%s is valid\n", c.config.Path)
	return exitClean
}

func (c *cli) genkey(args []string) int {
	key, line := server.GenerateKey(args[0])
	fmt.Fprintf(c.stdout, "%s\n%s\n", key, line)
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
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	if err := server.NewClient(c.config).Ready(ctx); err != nil {
		fmt.Fprintf(c.stderr, "not ready: %v\n", err)
		return exitOther
	}
	fmt.Fprintln(c.stdout, "ready")
	return exitClean
}

// steer returns the command that has the gateway of this config do verb.
func steer(verb string) func(c *cli, args []string) int {
	return func(c *cli, args []string) int {
		state, warnings, err := server.NewClient(c.config).Steer(c.ctx, verb)
		if err != nil {
			return c.fail(err, exitOther)
		}
		for _, w := range warnings {
			fmt.Fprintf(c.stderr, "warning: %s\n", w)
		}
		fmt.Fprintln(c.stdout, state)
		return exitClean
	}
}

func (c *cli) status([]string) int {
	text, err := server.NewClient(c.config).Status(c.ctx)
	if err != nil {
		return c.fail(err, exitOther)
	}
	fmt.Fprint(c.stdout, text)
	return exitClean
}

// service prints or installs what starts the gateway by itself.
func (c *cli) service(args []string) int {
	binary, err := os.Executable()
	if err != nil {
		return c.fail(err, exitOther)
	}
	unit := server.Unit{
		Binary: binary, Config: c.config.Path, Log: c.config.Logs.File, Port: c.config.Server.Port, Drain: c.config.Server.Drain,
		User: !c.system, Account: c.account,
	}
	if unit.Account == "" {
		unit.Account, _ = c.getenv("SUDO_USER")
	}
	if runtime.GOOS == "windows" {
		domain, _ := c.getenv("USERDOMAIN")
		user, _ := c.getenv("USERNAME")
		unit.User, unit.Account = true, domain+`\`+user
	}
	switch verb := args[0]; verb {
	case "print":
		err = c.printUnit(unit)
	case "install":
		err = unit.Install(c.ctx, c.stdout)
	case "uninstall":
		err = unit.Uninstall(c.ctx, c.stdout)
	case "status":
		err = unit.Status(c.ctx, c.stdout)
	default:
		fmt.Fprintf(c.stderr, "there is no service %q; want print, install, uninstall or status\n", verb)
		return exitConfig
	}
	if err != nil {
		return c.fail(err, exitOther)
	}
	return exitClean
}

// printUnit prints the start-up file of the form asked for, or of this system.
func (c *cli) printUnit(unit server.Unit) error {
	if err := unit.Check(); err != nil {
		fmt.Fprintf(c.stderr, "warning: %v\n", err)
	}
	text, err := unit.File(cmp.Or(c.form, map[string]string{"darwin": "launchd", "windows": "windows"}[runtime.GOOS], "systemd"))
	fmt.Fprint(c.stdout, text)
	return err
}

// snippet prints the settings with which a client uses this gateway.
func (c *cli) snippet(args []string) int {
	text, err := server.Snippet(args[0], server.SnippetValuesOf(c.config))
	if err != nil {
		return c.fail(err, exitConfig)
	}
	fmt.Fprint(c.stdout, text)
	return exitClean
}

// logs shows the request log of the gateway of this config.
func (c *cli) logs(args []string) int {
	query := url.Values{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			fmt.Fprintf(c.stderr, "%q: want FILTER=VALUE, as in status=5xx\n", arg)
			return exitConfig
		}
		query.Add(name, value)
	}
	ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.NewClient(c.config).Logs(ctx, c.stdout, query, c.follow, isTerminal(c.stdout)); err != nil {
		return c.fail(err, exitOther)
	}
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
