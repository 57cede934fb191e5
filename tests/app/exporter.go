package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// exporter offers what rules expect of kube-state-metrics v2: the same series names and labels, from LISTs of the
// API server made every second. It is small on purpose; it has what the tests' and the shipped rules ask for.
func exporter(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("exporter", flag.ExitOnError)
	server := flags.String("server", "", "API server's URL")
	ca := flags.String("ca", "", "CA certificate file")
	cert := flags.String("cert", "", "client certificate file")
	key := flags.String("key", "", "client key file")
	socket := flags.String("socket", "", "unix socket of a kubectl proxy, instead of server, ca, cert and key")
	address := flags.String("listen", "127.0.0.1:8080", "address to listen on")
	every := flags.Duration("every", time.Second, "time between two looks")
	flags.Parse(args)
	a := apiBehind(*socket)
	if *socket == "" {
		var err error
		if a, err = newAPI(*server, *ca, *cert, *key); err != nil {
			fail(err)
		}
	}
	page := &page{}
	http.Handle("/metrics", page)
	go func() { fail(http.ListenAndServe(*address, nil)) }()
	seen := newWaits(2 * *every)
	go func() {
		for {
			fmt.Fprintln(os.Stderr, "ERROR: watch:", seen.follow(a))
			time.Sleep(*every)
		}
	}()
	tick := time.NewTicker(*every)
	page.set(look(a, seen))
	for {
		select {
		case <-stop:
			return 0
		case <-tick.C:
			page.set(look(a, seen))
			seen.forget()
		}
	}
}

// waits remembers why containers waited, for a little while. With the short back-off of a test's kubelet a container
// says CrashLoopBackOff only until the kubelet's next look at the container it has just restarted, which can be some
// milliseconds later at every restart: looks at intervals can miss it every time, a watch does not.
type waits struct {
	keep time.Duration
	mu   sync.Mutex
	last map[string]wait
}

type wait struct {
	reason string
	at     time.Time
}

func newWaits(keep time.Duration) *waits {
	return &waits{keep: keep, last: map[string]wait{}}
}

// follow notes what every pod goes through, until the watch ends.
func (w *waits) follow(a *api) error {
	// The watch lasts longer than the other requests may take.
	client := http.Client{Transport: a.client.Transport}
	answer, err := client.Get(a.server + "/api/v1/pods?watch=true&timeoutSeconds=600")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("pods: %s", answer.Status)
	}
	for events := json.NewDecoder(answer.Body); ; {
		var event struct {
			Type   string `json:"type"`
			Object pod    `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			return err
		}
		if event.Type == "ERROR" {
			return errors.New("the API server ended it")
		}
		for _, c := range event.Object.Status.Containers {
			w.note(event.Object.Metadata.UID, c)
		}
	}
}

// note gives the reason for which the container waits, or waited a moment ago; "" if neither.
func (w *waits) note(uid string, c container) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := uid + "/" + c.Name
	if c.State.Waiting != nil {
		w.last[key] = wait{c.State.Waiting.Reason, time.Now()}
	}
	if wait, ok := w.last[key]; ok && time.Since(wait.at) <= w.keep {
		return wait.reason
	}
	return ""
}

// forget drops what has been kept for long enough.
func (w *waits) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, wait := range w.last {
		if time.Since(wait.at) > w.keep {
			delete(w.last, key)
		}
	}
}

// page is the last look's result.
type page struct {
	mu   sync.RWMutex
	text []byte
}

func (p *page) set(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

func (p *page) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	w.Write(p.text)
}

// api reads lists from an API server.
type api struct {
	server string
	client http.Client
}

func newAPI(server, ca, cert, key string) (*api, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	settings := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	return &api{server: server, client: http.Client{Transport: transport, Timeout: 5 * time.Second}}, nil
}

// apiBehind reaches an API server through a proxy that logs in; it looks at the host, which has to be local.
func apiBehind(socket string) *api {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial}
	return &api{server: "http://localhost", client: http.Client{Transport: transport, Timeout: 5 * time.Second}}
}

func list[T any](a *api, path string) ([]T, error) {
	// Served from the API server's own cache.
	answer, err := a.client.Get(a.server + path + "?resourceVersion=0")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	var all struct {
		Items []T `json:"items"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
		return nil, err
	}
	// Read to its end, the answer leaves the connection in good order; closed before, it is an abort to the server.
	_, err = io.Copy(io.Discard, answer.Body)
	return all.Items, err
}
