package productsearch

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/metadata"
)

const authorization = "authorization"

// TokenFunc returns the bearer token of the next call.
type TokenFunc func(ctx context.Context) (string, error)

// bearer is gRPC's PerRPCCredentials.
type bearer struct {
	token  TokenFunc
	secure bool
}

// GetRequestMetadata returns the header with the token, unless the call has one of its own.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if given, ok := metadata.FromOutgoingContext(ctx); ok && len(given.Get(authorization)) > 0 {
		return nil, nil
	}
	token, err := b.token(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{authorization: "Bearer " + token}, nil
}

// RequireTransportSecurity keeps the token off a connection that is not encrypted.
func (b bearer) RequireTransportSecurity() bool { return b.secure }

// sendable returns a token without blanks around it. The text of a token is in no error.
func sendable(token string) (string, error) {
	token = strings.TrimSpace(token)
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if token == "" || strings.ContainsFunc(token, unprintable) {
		return "", errors.New("productsearch: the token is empty, or has characters that no header can hold")
	}
	return token, nil
}
