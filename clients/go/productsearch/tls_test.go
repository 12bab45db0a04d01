package productsearch_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// selfSigned returns a certificate for localhost and a pool that trusts nothing else.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: t.Name()},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// Calls pass where both sides know each other, and fail without reaching the service where the
// service is not trusted or the caller has no certificate.
func TestTLSBothWays(t *testing.T) {
	mine, minePool := selfSigned(t)
	theirs, theirPool := selfSigned(t)
	reached := 0
	_, address := serve(t, &service{search: func(
		context.Context, *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		reached++
		return &pb.SearchImagesResponse{}, nil
	}}, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{theirs},
		ClientCAs:    minePool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})))
	own := []tls.Certificate{mine}
	for name, side := range map[string]struct {
		config *tls.Config
		want   codes.Code
	}{
		"both known":               {&tls.Config{RootCAs: theirPool, ServerName: "localhost", Certificates: own}, codes.OK},
		"the wrong name":           {&tls.Config{RootCAs: theirPool, ServerName: "example.org", Certificates: own}, codes.Unavailable},
		"an untrusted service":     {&tls.Config{RootCAs: minePool, ServerName: "localhost", Certificates: own}, codes.Unavailable},
		"an unknown caller":        {&tls.Config{RootCAs: theirPool, ServerName: "localhost"}, codes.Unavailable},
		"the system's authorities": {nil, codes.Unavailable},
	} {
		client := connect(t, address, productsearch.WithTLSConfig(side.config))
		before := reached
		_, err := client.SearchImages(within(t), &pb.SearchImagesRequest{})
		if side.want == codes.OK && (err != nil || reached != before+1) {
			t.Errorf("%s: %v", name, err)
		}
		if side.want != codes.OK && (caught(t, err).Code != side.want || reached != before) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
