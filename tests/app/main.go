// One static program with the roles that the end-to-end tests need: applications that are well, applications
// that fail in one particular way, and the small servers around a test cluster.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

// A role runs until stop is closed and gives the exit code.
type role func(args []string, stop <-chan struct{}) int

var roles = map[string]role{
	"pause":    pause,
	"serve":    serve,
	"crash":    crash,
	"oom":      oom,
	"unready":  unready,
	"sleep":    sleep,
	"exit":     exit,
	"exporter": exporter,
	"registry": registry,
	"sink":     sink,
}

func main() {
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		names := []string{}
		for name := range roles {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: app", strings.Join(names, "|"), "[flags]")
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() {
		<-signals
		close(stop)
	}()
	os.Exit(roles[os.Args[1]](os.Args[2:], stop))
}
