package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

// site is the web application: pages, health, and Prometheus metrics.
type site struct {
	version   string
	errorRate float64
	ready     bool
	call      string
	client    http.Client

	mu       sync.Mutex
	requests map[int]int
	seconds  float64
}

func newSite(version string, errorRate float64, ready bool) *site {
	return &site{
		version: version, errorRate: errorRate, ready: ready,
		client: http.Client{Timeout: 2 * time.Second}, requests: map[int]int{200: 0, 500: 0},
	}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "alive")
	case "/ready":
		if !s.ready {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	case "/metrics":
		s.metrics(w)
	default:
		start := time.Now()
		code, text := s.page()
		w.WriteHeader(code)
		fmt.Fprintln(w, text)
		s.mu.Lock()
		s.requests[code]++
		s.seconds += time.Since(start).Seconds()
		s.mu.Unlock()
	}
}

// page answers for itself, or with what the neighbour said.
func (s *site) page() (int, string) {
	if rand.Float64() < s.errorRate {
		return http.StatusInternalServerError, "internal error"
	}
	if s.call != "" {
		answer, err := s.client.Get(s.call)
		if err != nil {
			fmt.Fprintln(os.Stderr, "ERROR: calling neighbour:", err)
			return http.StatusBadGateway, err.Error()
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode >= 500 {
			return http.StatusBadGateway, "neighbour answered " + answer.Status
		}
	}
	return http.StatusOK, "hello from " + s.version
}

func (s *site) metrics(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := []int{}
	total := 0
	for code, count := range s.requests {
		codes = append(codes, code)
		total += count
	}
	sort.Ints(codes)
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	for _, code := range codes {
		fmt.Fprintf(w, "http_requests_total{code=\"%d\",version=%q} %d\n", code, s.version, s.requests[code])
	}
	fmt.Fprintln(w, "# TYPE http_request_duration_seconds summary")
	fmt.Fprintf(w, "http_request_duration_seconds_sum{version=%q} %g\n", s.version, s.seconds)
	fmt.Fprintf(w, "http_request_duration_seconds_count{version=%q} %d\n", s.version, total)
	fmt.Fprintln(w, "# TYPE app_info gauge")
	fmt.Fprintf(w, "app_info{version=%q} 1\n", s.version)
}

// serve is an application that is well, or fails as often as it is told to.
func serve(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	version := flags.String("version", "v1", "version to report")
	errorRate := flags.Float64("error-rate", 0, "share of requests answered with 500, 0 to 1")
	port := flags.Int("port", 8080, "port to serve on")
	call := flags.String("call", "", "a neighbour's URL to call on each request; ${NAME} is taken from the environment")
	traffic := flags.Float64("self-traffic", 0, "requests per second to send to itself")
	failEnv := flags.String("fail-env", "", "exit with 1 at start if this variable is \"bad\"")
	flags.Parse(args)
	if *failEnv != "" && os.Getenv(*failEnv) == "bad" {
		fmt.Fprintf(os.Stderr, "FATAL: invalid configuration: %s=bad\n", *failEnv)
		return 1
	}
	s := newSite(*version, *errorRate, true)
	s.call = os.ExpandEnv(*call)
	go listen(*port, s)
	if *traffic > 0 {
		go s.visit(fmt.Sprintf("http://127.0.0.1:%d/", *port), time.Duration(float64(time.Second)/(*traffic)), stop)
	}
	fmt.Printf("serving %s on :%d\n", *version, *port)
	<-stop
	return 0
}

// visit requests the site's own page at an even pace.
func (s *site) visit(url string, every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if answer, err := s.client.Get(url); err == nil {
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}
	}
}

func listen(port int, handler http.Handler) {
	fail(http.ListenAndServe(fmt.Sprintf(":%d", port), handler))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "FATAL:", err)
	os.Exit(1)
}
