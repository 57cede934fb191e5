package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// pause does nothing: the container that holds a pod's namespaces.
func pause(_ []string, stop <-chan struct{}) int {
	<-stop
	return 0
}

// sleep is an application that neither serves nor fails.
func sleep(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("sleep", flag.ExitOnError)
	long := flags.Duration("for", 0, "end well after this long; 0 for never")
	flags.Parse(args)
	var over <-chan time.Time
	if *long > 0 {
		over = time.After(*long)
	}
	select {
	case <-stop:
	case <-over:
	}
	return 0
}

// exit ends with a code, for Jobs.
func exit(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("exit", flag.ExitOnError)
	code := flags.Int("code", 0, "exit code")
	after := flags.Duration("after", 0, "how long to run first")
	flags.Parse(args)
	select {
	case <-stop:
	case <-time.After(*after):
	}
	fmt.Println("ending with", *code)
	return *code
}

// crash fails the way a program does whose dependency is away.
func crash(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("crash", flag.ExitOnError)
	after := flags.Duration("after", 0, "serve, ready, for this long first")
	port := flags.Int("port", 8080, "port to serve on meanwhile")
	flags.Parse(args)
	fmt.Println("starting up")
	if *after > 0 {
		go listen(*port, newSite("crash", 0, true))
		select {
		case <-stop:
			return 0
		case <-time.After(*after):
		}
	}
	fmt.Fprintln(os.Stderr, "FATAL: cannot reach database db:5432: connection refused")
	return 1
}

// oom takes memory until the kernel ends it.
func oom(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("oom", flag.ExitOnError)
	step := flags.Duration("step", 50*time.Millisecond, "time between two takes of 4 MiB")
	flags.Parse(args)
	var kept [][]byte
	for {
		select {
		case <-stop:
			return 0
		case <-time.After(*step):
		}
		block := make([]byte, 4<<20)
		for i := range block {
			block[i] = byte(i)
		}
		kept = append(kept, block)
		fmt.Println("holding MiB:", 4*len(kept))
	}
}

// unready runs and is alive, but never ready.
func unready(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("unready", flag.ExitOnError)
	port := flags.Int("port", 8080, "port to serve on")
	flags.Parse(args)
	go listen(*port, newSite("unready", 0, false))
	<-stop
	return 0
}
