package main

import (
	"fmt"
	"sync"

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
func (t *targets) dial(name string, options ...productsearch.Option) (*productsearch.Client, error) {
	where, ok := t.known[name]
	if !ok {
		return nil, fmt.Errorf("the plan has no target %q", name)
	}
	if where.CA != "" {
		files := productsearch.TLSFiles{CA: where.CA, Cert: where.Certificate, Key: where.Key}
		options = append(options, productsearch.WithTLS(files))
	}
	return productsearch.Connect(where.Address, options...)
}

func (t *targets) close() {
	for _, client := range t.dialed {
		client.Close()
	}
}
