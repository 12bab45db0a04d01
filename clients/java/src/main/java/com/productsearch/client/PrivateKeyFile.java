package com.productsearch.client;

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads a private key in PKCS #8 (RFC 5208), the one form that gRPC takes.
 *
 * <p>openssl and cert-manager also write PKCS #1 for RSA keys and SEC 1 for elliptic curve keys.
 * These are refused with the command that converts them: gRPC's own error names neither the file
 * nor the form.
 */
final class PrivateKeyFile {
    private static final Pattern BEGIN = Pattern.compile("-----BEGIN ([A-Z ]*)PRIVATE KEY-----");

    private PrivateKeyFile() {}

    /** Returns the content of a file with a key in PKCS #8. Throws IllegalArgumentException. */
    static InputStream read(String field, Path file) {
        byte[] pem = PemFile.read(field, file);
        Matcher begin = BEGIN.matcher(new String(pem, StandardCharsets.ISO_8859_1));
        if (!begin.find()) {
            throw new IllegalArgumentException(
                    field + ": " + file + " holds no key; use PEM (BEGIN PRIVATE KEY)");
        }
        if (!begin.group(1).isEmpty()) {
            throw new IllegalArgumentException(
                    field + ": " + file + " holds a BEGIN " + begin.group(1) + "PRIVATE KEY; use"
                            + " PKCS #8 without a password (BEGIN PRIVATE KEY): openssl pkcs8"
                            + " -topk8 -nocrypt -in old.pem -out new.pem");
        }
        return new ByteArrayInputStream(pem);
    }
}
