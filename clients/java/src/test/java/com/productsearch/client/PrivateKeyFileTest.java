package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PrivateKeyFileTest {
    @TempDir Path folder;

    /** An RSA key comes back as it was, in its envelope (PKCS #8) or without (PKCS #1). */
    @ParameterizedTest
    @ValueSource(ints = {512, 1024, 2048, 4096})
    void readsRsaKeys(int bits) throws Exception {
        PrivateKey key = generate("RSA", bits);
        byte[] enveloped = key.getEncoded();
        byte[] plain = contentAfter(enveloped, "300d06092a864886f70d0101010500");
        for (Path file :
                new Path[] {write("PRIVATE KEY", enveloped), write("RSA PRIVATE KEY", plain)}) {
            assertEquals(exponent(key), exponent(read(file, "RSA")));
        }
    }

    /** An elliptic key comes back as it was, in its envelope (PKCS #8) or without (SEC 1). */
    @ParameterizedTest
    @CsvSource({
        "256, a00a06082a8648ce3d030107",
        "384, a00706052b81040022",
        "521, a00706052b81040023"
    })
    void readsEllipticKeys(int bits, String curve) throws Exception {
        PrivateKey key = generate("EC", bits);
        byte[] bare = contentAfter(key.getEncoded(), curve.substring(4));
        // Java leaves out of SEC 1 what the envelope says; alone it has to name the curve.
        ByteArrayOutputStream plain = new ByteArrayOutputStream();
        byte[] parameters = HexFormat.of().parseHex(curve);
        plain.write(0x30);
        plain.write(bare[1] + parameters.length);
        plain.write(bare, 2, bare.length - 2);
        plain.write(parameters);
        for (Path file :
                new Path[] {
                    write("PRIVATE KEY", key.getEncoded()),
                    write("EC PRIVATE KEY", plain.toByteArray())
                }) {
            ECPrivateKey read = (ECPrivateKey) read(file, "EC");
            assertEquals(((ECPrivateKey) key).getS(), read.getS());
            assertEquals(((ECPrivateKey) key).getParams().getCurve(), read.getParams().getCurve());
        }
    }

    /** What is no key that can be used is refused under its field and file. */
    @Test
    void refusesTheRest() throws IOException {
        for (Path wrong :
                new Path[] {
                    folder.resolve("missing"),
                    Files.writeString(folder.resolve("text"), "no key"),
                    write("CERTIFICATE", new byte[] {1}),
                    write("ENCRYPTED PRIVATE KEY", new byte[] {1}),
                    write("EC PRIVATE KEY", new byte[] {0x30, 0x03, 0x02, 0x01, 0x01}),
                    write("EC PRIVATE KEY", new byte[0])
                }) {
            String message =
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> PrivateKeyFile.read("key", wrong))
                            .getMessage();
            assertTrue(message.startsWith("key: " + wrong), message);
        }
    }

    private static PrivateKey generate(String algorithm, int bits) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance(algorithm);
        generator.initialize(bits);
        return generator.generateKeyPair().getPrivate();
    }

    private static PrivateKey read(Path file, String algorithm)
            throws IOException, GeneralSecurityException {
        String pem =
                new String(
                        PrivateKeyFile.read("key", file).readAllBytes(), StandardCharsets.US_ASCII);
        byte[] pkcs8 = Base64.getMimeDecoder().decode(pem.replaceAll("-----[^-]*-----", ""));
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
    }

    private static BigInteger exponent(PrivateKey key) {
        return ((RSAPrivateKey) key).getPrivateExponent();
    }

    /** The key within an envelope: the octets after the words that say which it is. */
    private static byte[] contentAfter(byte[] pkcs8, String words) {
        String all = HexFormat.of().formatHex(pkcs8);
        int octets = (all.indexOf(words) + words.length()) / 2;
        int length = Byte.toUnsignedInt(pkcs8[octets + 1]);
        int header = 2 + (length < 0x80 ? 0 : length - 0x80);
        return Arrays.copyOfRange(pkcs8, octets + header, pkcs8.length);
    }

    private Path write(String kind, byte[] der) throws IOException {
        String body = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
        return Files.writeString(
                folder.resolve(kind + der.length + ".pem"),
                "-----BEGIN " + kind + "-----\n" + body + "\n-----END " + kind + "-----\n");
    }
}
