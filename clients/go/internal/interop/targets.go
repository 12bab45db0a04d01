package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"google.golang.org/grpc"

	"github.com/productsearch/productsearch/clients/go/productsearch"
)

// target is a server of the plan; the files are PEM.
type target struct {
	Address     string `json:"address"`
	CA          string `json:"ca"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// targets hands out one client for each server.
type targets struct {
	known map[string]target

	mutex  sync.Mutex
	dialed map[string]*productsearch.Client
}

func (t *targets) client(name string) (*productsearch.Client, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if client := t.dialed[name]; client != nil {
		return client, nil
	}
	client, err := t.dial(name)
	if err != nil {
		return nil, err
	}
	if t.dialed == nil {
		t.dialed = map[string]*productsearch.Client{}
	}
	t.dialed[name] = client
	return client, nil
}

// dial returns a client that the caller closes.
func (t *targets) dial(name string, options ...grpc.DialOption) (*productsearch.Client, error) {
	where, ok := t.known[name]
	if !ok {
		return nil, fmt.Errorf("the plan has no target %q", name)
	}
	if where.CA != "" {
		config, err := where.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, productsearch.WithTLS(config))
	}
	return productsearch.Dial(where.Address, options...)
}

func (t target) tls() (*tls.Config, error) {
	authority, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", t.CA)
	}
	if t.Certificate != "" {
		own, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

func (t *targets) close() {
	for _, client := range t.dialed {
		client.Close()
	}
}
