package productsearch_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// authorizations is a service that notes the header of each call.
func authorizations() (*service, *[]string) {
	var seen []string
	note := func(ctx context.Context) {
		given, _ := metadata.FromIncomingContext(ctx)
		seen = append(seen, strings.Join(given.Get("authorization"), " and "))
	}
	return &service{
		search: func(ctx context.Context, _ *pb.SearchImagesRequest) (*pb.SearchImagesResponse, error) {
			note(ctx)
			return &pb.SearchImagesResponse{}, nil
		},
		bulk: func(stream bulkServer) error {
			note(stream.Context())
			return echo(stream)
		},
	}, &seen
}

// callBoth makes a unary call and a stream, and returns the first error.
func callBoth(t *testing.T, client *productsearch.Client) error {
	t.Helper()
	if _, err := client.SearchImages(within(t), &pb.SearchImagesRequest{}); err != nil {
		return err
	}
	for _, err := range client.BulkAdd(within(t), nil, items()).Results() {
		return err
	}
	return nil
}

// A token goes with unary calls and streams, is asked for each time, and a call's own wins.
func TestTokenGoesWithEveryCall(t *testing.T) {
	s, seen := authorizations()
	given := []string{"one", " two\n", "three"}
	next := func(context.Context) (string, error) {
		token := given[0]
		given = given[1:]
		return token, nil
	}
	plain := productsearch.WithPlaintext()
	if err := callBoth(t, dial(t, s, productsearch.WithTokenFunc(next), plain)); err != nil {
		t.Fatal(err)
	}
	client := dial(t, s, productsearch.WithToken("same"), plain)
	if err := callBoth(t, client); err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(within(t), "authorization", "Bearer own")
	if _, err := client.SearchImages(ctx, &pb.SearchImagesRequest{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"Bearer one", "Bearer two", "Bearer same", "Bearer same", "Bearer own"}
	if !slices.Equal(want, *seen) {
		t.Errorf("%q, want %q", *seen, want)
	}
}

// A token that cannot be sent is refused where it is known; no error has its text.
func TestTokensThatCannotBeSent(t *testing.T) {
	for _, token := range []string{"", " \n", "secret\nline", "sécret"} {
		if _, err := productsearch.Connect("x:1", productsearch.WithToken(token)); err == nil ||
			strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: %v", token, err)
		}
		s, seen := authorizations()
		client := dial(t, s, productsearch.WithPlaintext(),
			productsearch.WithTokenFunc(func(context.Context) (string, error) { return token, nil }))
		failed := caught(t, callBoth(t, client))
		if failed.Code != codes.Unauthenticated || strings.Contains(failed.Error(), "cret") {
			t.Errorf("%q: %v", token, failed)
		}
		if len(*seen) > 0 {
			t.Errorf("%q was sent: %q", token, *seen)
		}
	}
	if _, err := productsearch.Connect("x:1", productsearch.WithTokenFunc(nil)); err == nil {
		t.Error("nil: no error")
	}
	sealed := errors.New("the vault is sealed")
	client := dial(t, &service{}, productsearch.WithPlaintext(), productsearch.WithTokenFunc(
		func(context.Context) (string, error) { return "", sealed }))
	if err := callBoth(t, client); !strings.Contains(err.Error(), sealed.Error()) {
		t.Error(err)
	}
}

// A token alone turns TLS on: on a plaintext port it is not sent.
func TestTokenTurnsTLSOn(t *testing.T) {
	s, seen := authorizations()
	err := callBoth(t, dial(t, s, productsearch.WithToken("secret")))
	if got := caught(t, err).Code; got != codes.Unavailable || len(*seen) > 0 {
		t.Errorf("%v, %q", err, *seen)
	}
}

// inFiles writes a certificate and its key as PEM.
func inFiles(t *testing.T, made tls.Certificate) (certificate, key string) {
	t.Helper()
	folder := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(folder, name)
		block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
		if err := os.WriteFile(path, block, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", made.Certificate[0]), write("key.pem", "PRIVATE KEY", der)
}

// Three files make mutual TLS, and with them a token reaches the service.
func TestTLSFiles(t *testing.T) {
	mine, minePool := selfSigned(t)
	theirs, _ := selfSigned(t)
	s, seen := authorizations()
	_, address := serve(t, s, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{theirs},
		ClientCAs:    minePool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})))
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	address = "localhost:" + port
	certificate, key := inFiles(t, mine)
	authority, _ := inFiles(t, theirs)
	files := productsearch.TLSFiles{CA: authority, Cert: certificate, Key: key}
	token := productsearch.WithToken("t")
	if err := callBoth(t, connect(t, address, productsearch.WithTLS(files), token)); err != nil {
		t.Error(err)
	}
	if want := []string{"Bearer t", "Bearer t"}; !slices.Equal(want, *seen) {
		t.Errorf("%q, want %q", *seen, want)
	}
	for name, files := range map[string]productsearch.TLSFiles{
		"the system's authorities": {Cert: certificate, Key: key},
		"no certificate of mine":   {CA: authority},
	} {
		err := callBoth(t, connect(t, address, productsearch.WithTLS(files)))
		if got := caught(t, err).Code; got != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Settings that cannot work are refused by Connect, with what is wrong.
func TestWrongSettingsAreRefused(t *testing.T) {
	made, _ := selfSigned(t)
	certificate, key := inFiles(t, made)
	for want, option := range map[string]productsearch.Option{
		"no-such-file":         productsearch.WithTLS(productsearch.TLSFiles{CA: "no-such-file"}),
		"holds no certificate": productsearch.WithTLS(productsearch.TLSFiles{CA: key}),
		"one of Cert and Key":  productsearch.WithTLS(productsearch.TLSFiles{Cert: certificate}),
		"no-such-key":          productsearch.WithTLS(productsearch.TLSFiles{Cert: certificate, Key: "no-such-key"}),
		"9s is too short":      productsearch.WithKeepalive(9 * time.Second),
	} {
		_, err := productsearch.Connect("x:1", option)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// An address that cannot be reached is named with the cause, by calls and streams.
func TestUnreachableNamesAddressAndCause(t *testing.T) {
	server, closed := serve(t, &service{})
	server.Stop()
	_, theirPool := selfSigned(t)
	_, plain := serve(t, &service{})
	for _, side := range []struct {
		target, cause string
		options       []productsearch.Option
	}{
		{closed, "connection refused", nil},
		{"dns:///no-such-host.invalid:1", "no-such-host.invalid", nil},
		{plain, "tls", []productsearch.Option{productsearch.WithTLSConfig(&tls.Config{RootCAs: theirPool})}},
	} {
		client := connect(t, side.target, side.options...)
		_, unary := client.AddImage(within(t), &pb.AddImageRequest{})
		var streamed error
		for _, err := range client.BulkAdd(within(t), nil, items("a")).Results() {
			streamed = err
		}
		for _, err := range []error{unary, streamed} {
			failed := caught(t, err)
			if failed.Code != codes.Unavailable ||
				!strings.Contains(failed.Error(), "cannot reach "+side.target+": ") ||
				!strings.Contains(failed.Error(), side.cause) {
				t.Errorf("%s: %v", side.target, err)
			}
		}
	}
}

// A stream whose connection is lost names the address too.
func TestLostStreamNamesTheAddress(t *testing.T) {
	server, address := serve(t, &service{bulk: func(stream bulkServer) error {
		if err := stream.Send(added("a")); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}})
	stream, err := connect(t, address).BulkAddImages(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	_, err = stream.Recv()
	if failed := caught(t, err); !strings.Contains(failed.Error(), "cannot reach "+address+": ") {
		t.Error(failed)
	}
}
