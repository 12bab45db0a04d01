package com.productsearch.client;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;

/** Reads PEM files. Its errors name the file and what is wrong with it; gRPC's own do not. */
final class PemFile {
    private PemFile() {}

    /** Returns the content of a file with one certificate or more. */
    static InputStream certificates(String field, Path file) {
        byte[] pem = read(field, file);
        try {
            CertificateFactory x509 = CertificateFactory.getInstance("X.509");
            if (!x509.generateCertificates(new ByteArrayInputStream(pem)).isEmpty()) {
                return new ByteArrayInputStream(pem);
            }
        } catch (CertificateException e) {
            throw new IllegalArgumentException(
                    field + ": " + file + " holds a certificate that cannot be read", e);
        }
        throw new IllegalArgumentException(
                field + ": " + file + " holds no certificate; use PEM (BEGIN CERTIFICATE)");
    }

    static byte[] read(String field, Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(field + ": " + file + " cannot be read", e);
        }
    }
}
