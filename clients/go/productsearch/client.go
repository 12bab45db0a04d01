// Package productsearch is the client of the product image search service, productsearch.v1:
// a connection with the options that the service needs, an error type for errors.As, iterators
// for bulk adds and for paging, and functions that make the messages' parts. The messages and
// the generated stub are in package productsearchv1.
package productsearch

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"

	"google.golang.org/grpc"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

//go:embed product_search_grpc_service_config.json
var serviceConfig string

const (
	// A retry needs the whole request in the buffer. gRPC's default of 256 KiB is smaller than
	// an image, and gRPC does not retry a call that does not fit.
	// Larger ones, which only fit takes, are not retried: each would be held in memory.
	retryBufferBytes = 7 << 20
	// The answer to the longest batch delete that fits a request, with an error for each
	// signature, is several times gRPC's own 4 MiB.
	responseBytesMax = 64 << 20
)

// Addresses of the web, which are no gRPC targets. gRPC's own schemes are left to it.
var otherScheme = regexp.MustCompile("(?i)^(https?|grpcs?|tcp)://")

// Client calls the service. It has the methods of the generated stub (AddImage, SearchImages,
// UpdateImage, DeleteImage, BatchDeleteImages, BulkAddImages) and, on top of them, BulkAdd,
// BatchDelete and SearchAll. Every call fails with an *Error. A Client can be used by many
// goroutines at once.
type Client struct {
	productsearchv1.ProductSearchClient

	conn *grpc.ClientConn
}

// Connect returns a client for the service at target, such as "127.0.0.1:50051" or any other
// gRPC target. It connects with the first call and reconnects after a connection was lost.
//
// Without options the connection is plaintext, for loopback and for a mesh's sidecar; WithTLS
// encrypts it, and so does WithToken. Unary calls end after the service config's deadline (30 s,
// batch deletes 300 s), or after the context's if that is earlier; searches, updates and deletes
// are tried again on UNAVAILABLE, adds never.
func Connect(target string, options ...Option) (*Client, error) {
	if target == "" {
		return nil, errors.New("productsearch: the target is empty; use host:port")
	}
	if scheme := otherScheme.FindString(target); scheme != "" {
		return nil, fmt.Errorf("productsearch: the target is %q; use host:port, without %s",
			target, scheme)
	}
	settings := defaultSettings()
	for _, option := range options {
		if err := option(settings); err != nil {
			return nil, err
		}
	}
	conn, err := grpc.NewClient(target, settings.dialOptions()...)
	if err != nil {
		return nil, err
	}
	return &Client{productsearchv1.NewProductSearchClient(conn), conn}, nil
}

// Conn returns the connection, for its state or for other services behind the same address,
// such as grpc.health.v1.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// Close ends the connection; calls under way fail with CANCELLED.
func (c *Client) Close() error { return c.conn.Close() }
