package productsearch

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	keepaliveInterval = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
	// The service closes connections that ping more often.
	keepaliveIntervalMin = 10 * time.Second
)

// Option is a setting of Connect.
type Option func(*settings) error

type settings struct {
	tls       *tls.Config
	plaintext bool
	token     TokenFunc
	keepalive keepalive.ClientParameters
	further   []grpc.DialOption
}

func defaultSettings() *settings {
	return &settings{keepalive: keepalive.ClientParameters{
		Time:    keepaliveInterval,
		Timeout: keepaliveTimeout,
	}}
}

// WithToken sends a bearer token with each call, for a service with a caller policy. It turns
// TLS on, with the system's certificate authorities unless WithTLS names others. A call whose
// context has an authorization header keeps that one.
func WithToken(token string) Option {
	return func(s *settings) error {
		checked, err := sendable(token)
		s.token = func(context.Context) (string, error) { return checked, nil }
		return err
	}
}

// WithTokenFunc is WithToken for a token that changes: token is asked before each call, by many
// goroutines at once, and should answer quickly. Its error fails the call with UNAUTHENTICATED.
func WithTokenFunc(token TokenFunc) Option {
	return func(s *settings) error {
		if token == nil {
			return fmt.Errorf("productsearch: the function that gives the token is nil")
		}
		s.token = func(ctx context.Context) (string, error) {
			given, err := token(ctx)
			if err != nil {
				return "", err
			}
			return sendable(given)
		}
		return nil
	}
}

// WithTLS encrypts the connection. TLSFiles{} trusts the system's certificate authorities.
func WithTLS(files TLSFiles) Option {
	return func(s *settings) (err error) {
		s.tls, err = files.config()
		s.plaintext = false
		return err
	}
}

// WithTLSConfig is WithTLS for a configuration that is no three files: keys in memory,
// certificates that change, another server name.
func WithTLSConfig(config *tls.Config) Option {
	return func(s *settings) error {
		s.tls, s.plaintext = config.Clone(), false
		if s.tls == nil {
			s.tls = &tls.Config{}
		}
		return nil
	}
}

// WithPlaintext sends everything unencrypted, a token too: for a mesh's sidecar, which encrypts.
func WithPlaintext() Option {
	return func(s *settings) error {
		s.tls, s.plaintext = nil, true
		return nil
	}
}

// WithKeepalive sets how often the service is pinged while calls are under way, 10 s or more;
// the default is 30 s.
func WithKeepalive(interval time.Duration) Option {
	return func(s *settings) error {
		if interval < keepaliveIntervalMin {
			return fmt.Errorf("productsearch: a keepalive of %s is too short; the service allows %s",
				interval, keepaliveIntervalMin)
		}
		s.keepalive.Time = interval
		return nil
	}
}

// WithKeepaliveWithoutCalls pings the service while no call is under way too. That notices a dead
// connection, and keeps an idle one open through load balancers that close silent ones.
func WithKeepaliveWithoutCalls() Option {
	return func(s *settings) error {
		s.keepalive.PermitWithoutStream = true
		return nil
	}
}

// WithDialOptions hands on gRPC's own options, such as interceptors. They win over all others.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.further = append(s.further, options...)
		return nil
	}
}

func (s *settings) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(s.transport()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(s.keepalive),
		grpc.WithDefaultCallOptions(
			grpc.MaxRetryRPCBufferSize(retryBufferBytes),
			grpc.MaxCallRecvMsgSize(responseBytesMax),
		),
		grpc.WithChainUnaryInterceptor(convertUnary),
		grpc.WithChainStreamInterceptor(convertStream),
	}
	if s.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{s.token, !s.plaintext}))
	}
	return append(options, s.further...)
}

func (s *settings) transport() credentials.TransportCredentials {
	switch {
	case s.tls != nil:
		return credentials.NewTLS(s.tls)
	case s.token != nil && !s.plaintext:
		return credentials.NewTLS(&tls.Config{})
	default:
		return insecure.NewCredentials()
	}
}
