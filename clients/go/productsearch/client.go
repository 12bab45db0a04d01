// Package productsearch is the client of the product image search service, productsearch.v1:
// a connection with the options that the service needs, an error type for errors.As, and
// iterators for bulk adds and for paging. The messages and the generated stub are in package
// productsearchv1.
package productsearch

import (
	"crypto/tls"
	_ "embed"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

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

	// The service allows a ping every 10 s.
	keepaliveInterval = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
)

// Client calls the service. It has the methods of the generated stub (AddImage, SearchImages,
// UpdateImage, DeleteImage, BatchDeleteImages, BulkAddImages) and, on top of them, BulkAdd and
// SearchAll. Every call fails with an *Error. A Client can be used by many goroutines at once.
type Client struct {
	productsearchv1.ProductSearchClient

	conn *grpc.ClientConn
}

// Dial returns a client for the service at target, such as "127.0.0.1:50051" or any other gRPC
// target. It connects with the first call and reconnects after a connection was lost.
//
// Unary calls end after the service config's deadline, or after the context's if that is
// earlier; searches, updates and deletes are tried again on UNAVAILABLE, adds never.
// Without a transport credentials option the connection is plaintext, for loopback and for a
// mesh's sidecar. All options win over what Dial sets: grpc.WithKeepaliveParams with
// PermitWithoutStream pings while no call is under way too, every 10 s at the most.
func Dial(target string, options ...grpc.DialOption) (*Client, error) {
	if target == "" {
		return nil, errors.New("productsearch: the target is empty; use host:port")
	}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:    keepaliveInterval,
			Timeout: keepaliveTimeout,
		}),
		grpc.WithDefaultCallOptions(
			grpc.MaxRetryRPCBufferSize(retryBufferBytes),
			grpc.MaxCallRecvMsgSize(responseBytesMax),
		),
		grpc.WithChainUnaryInterceptor(convertUnary),
		grpc.WithChainStreamInterceptor(convertStream),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	return &Client{productsearchv1.NewProductSearchClient(conn), conn}, nil
}

// WithTLS encrypts the connection. A nil config trusts the system's certificate authorities;
// RootCAs names others, and Certificates or GetClientCertificate hold the caller's own (mTLS).
func WithTLS(config *tls.Config) grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(config))
}

// Conn returns the connection, for its state or for other services behind the same address,
// such as grpc.health.v1.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// Close ends the connection; calls under way fail with CANCELLED.
func (c *Client) Close() error { return c.conn.Close() }
