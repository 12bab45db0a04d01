package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PrivateKeyFileTest {
    @TempDir Path folder;

    /** A PKCS #8 key is handed on as it is, also with text before it, and gRPC takes it. */
    @Test
    void readsPkcs8() throws Exception {
        Certificates.Pair pair = Certificates.make(folder, "caller");
        Path described = folder.resolve("described.pem");
        Files.writeString(
                described, "Bag Attributes\n    name: caller\n" + Files.readString(pair.key()));
        for (Path file : new Path[] {pair.key(), described}) {
            assertArrayEquals(
                    Files.readAllBytes(file), PrivateKeyFile.read("key", file).readAllBytes());
            ProductSearchChannelBuilder.forTarget("127.0.0.1:1")
                    .identity(pair.certificate(), file)
                    .build()
                    .shutdownNow();
        }
    }

    /** Another form is refused under the field and the file, with the command to convert it. */
    @ParameterizedTest
    @ValueSource(strings = {"RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"})
    void namesTheConversion(String form) throws IOException {
        Path file = folder.resolve("old.pem");
        Files.writeString(
                file,
                "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
                        + ("-----BEGIN " + form + "-----\nAQ==\n-----END " + form + "-----\n"));
        assertEquals(
                "key: " + file + " holds a BEGIN " + form + "; use PKCS #8 without a password"
                        + " (BEGIN PRIVATE KEY): openssl pkcs8 -topk8"
                        + " -nocrypt -in old.pem -out new.pem",
                messageOf(file));
    }

    /** A file that is missing or holds no key is refused under its field and path. */
    @Test
    void refusesTheRest() throws IOException {
        Path missing = folder.resolve("missing.pem");
        assertEquals("key: " + missing + " cannot be read", messageOf(missing));
        Path text = Files.writeString(folder.resolve("text.pem"), "-----BEGIN CERTIFICATE-----\n");
        assertEquals(
                "key: " + text + " holds no key; use PEM (BEGIN PRIVATE KEY)", messageOf(text));
    }

    private static String messageOf(Path file) {
        return assertThrows(
                        IllegalArgumentException.class, () -> PrivateKeyFile.read("key", file))
                .getMessage();
    }
}
