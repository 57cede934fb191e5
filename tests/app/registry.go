package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// registry serves images from a directory that may change meanwhile:
//
//	blobs/sha256/HEX       manifests, configurations and layers
//	tags/NAME.../TAG       holds the manifest's digest
//
// Whatever is not there is 404, as from any registry.
func registry(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("registry", flag.ExitOnError)
	dir := flags.String("dir", "", "directory to serve")
	address := flags.String("listen", "127.0.0.1:5000", "address to listen on")
	flags.Parse(args)
	go func() { fail(http.ListenAndServe(*address, store{*dir})) }()
	<-stop
	return 0
}

type store struct{ dir string }

func (s store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok || strings.Contains(path, "..") {
		missing(w)
		return
	}
	if path == "" {
		fmt.Fprintln(w, "{}")
		return
	}
	name, reference, manifest := cut(path)
	digest := reference
	if !strings.HasPrefix(reference, "sha256:") {
		tag, err := os.ReadFile(filepath.Join(s.dir, "tags", name, reference))
		if err != nil || !manifest {
			missing(w)
			return
		}
		digest = strings.TrimSpace(string(tag))
	}
	blob, err := os.Open(filepath.Join(s.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	if err != nil {
		missing(w)
		return
	}
	defer blob.Close()
	kind := "application/octet-stream"
	if manifest {
		kind = "application/vnd.oci.image.manifest.v1+json"
	}
	if about, err := blob.Stat(); err == nil {
		w.Header().Set("Content-Length", fmt.Sprint(about.Size()))
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", digest)
	if r.Method == http.MethodGet {
		io.Copy(w, blob)
	}
}

// cut splits NAME.../manifests|blobs/REFERENCE.
func cut(path string) (name, reference string, manifest bool) {
	parts := strings.Split(path, "/")
	if len(parts) < 3 {
		return "", path, false
	}
	last := len(parts) - 1
	return strings.Join(parts[:last-1], "/"), parts[last], parts[last-1] == "manifests"
}

func missing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintln(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
}

// sink prints each request body it is sent as one line of JSON.
func sink(args []string, stop <-chan struct{}) int {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	address := flags.String("listen", ":8080", "address to listen on")
	flags.Parse(args)
	var mu sync.Mutex
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(os.Stdout).Encode(map[string]string{"path": r.URL.Path, "body": string(body)})
	}
	go func() { fail(http.ListenAndServe(*address, http.HandlerFunc(handler))) }()
	<-stop
	return 0
}
