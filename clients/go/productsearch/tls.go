package productsearch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles names PEM files. The zero value trusts the system's certificate authorities.
type TLSFiles struct {
	// CA holds the authorities that may have signed the service's certificate; empty: the
	// system's.
	CA string
	// Cert and Key are the caller's own, for mutual TLS: both or neither.
	Cert, Key string
}

func (f TLSFiles) config() (*tls.Config, error) {
	config := &tls.Config{}
	if f.CA != "" {
		authorities, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("productsearch: CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("productsearch: CA: %s holds no certificate; use PEM", f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("productsearch: TLSFiles has one of Cert and Key; give both, or neither")
	}
	if f.Cert != "" {
		own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("productsearch: Cert %s, Key %s: %w", f.Cert, f.Key, err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}
