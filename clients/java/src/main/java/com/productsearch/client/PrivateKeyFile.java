package com.productsearch.client;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads a private key as the tools write it and gives it as PKCS #8, the one form that gRPC takes.
 *
 * <p>RSA keys come as PKCS #1 (RFC 8017, A.1.2) and elliptic ones as SEC 1 (RFC 5915), from openssl
 * and, by default, from cert-manager; PKCS #8 (RFC 5208) only puts an envelope around either that
 * says which it is.
 */
final class PrivateKeyFile {
    private static final Pattern BLOCK =
            Pattern.compile(
                    "-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----(.*?)-----END \\1-----",
                    Pattern.DOTALL);
    private static final int SEQUENCE = 0x30;
    private static final int OCTETS = 0x04;
    private static final int PARAMETERS = 0xa0;
    private static final byte[] VERSION_0 = hex("020100");
    private static final byte[] RSA = hex("300d06092a864886f70d0101010500");
    private static final byte[] EC = hex("06072a8648ce3d0201");

    private PrivateKeyFile() {}

    /** Returns the key as PKCS #8 in PEM. Throws IllegalArgumentException. */
    static InputStream read(String field, Path file) {
        String text = new String(PemFile.read(field, file), StandardCharsets.ISO_8859_1);
        Matcher block = BLOCK.matcher(text);
        if (!block.find()) {
            throw new IllegalArgumentException(
                    field + ": " + file + " holds no key; use PEM (BEGIN PRIVATE KEY)");
        }
        try {
            byte[] key = Base64.getMimeDecoder().decode(block.group(2));
            byte[] pkcs8 =
                    switch (block.group(1)) {
                        case "PRIVATE KEY" -> key;
                        case "RSA PRIVATE KEY" ->
                                der(SEQUENCE, VERSION_0, RSA, der(OCTETS, key));
                        case "EC PRIVATE KEY" ->
                                der(
                                        SEQUENCE,
                                        VERSION_0,
                                        der(SEQUENCE, EC, curve(key)),
                                        der(OCTETS, key));
                        default -> throw new IllegalArgumentException("the key is encrypted");
                    };
            String body = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(pkcs8);
            String pem = "-----BEGIN PRIVATE KEY-----\n" + body + "\n-----END PRIVATE KEY-----\n";
            return new ByteArrayInputStream(pem.getBytes(StandardCharsets.US_ASCII));
        } catch (RuntimeException e) {
            throw new IllegalArgumentException(
                    field + ": " + file + " holds a key that cannot be read; use one that is not"
                            + " encrypted, PKCS #8, PKCS #1 or SEC 1 in PEM",
                    e);
        }
    }

    /** The curve's object identifier, out of the parameters of a SEC 1 key. */
    private static byte[] curve(byte[] sec1) {
        int member = content(sec1, 0);
        while (Byte.toUnsignedInt(sec1[member]) != PARAMETERS) {
            member = end(sec1, member);
        }
        int identifier = content(sec1, member);
        return Arrays.copyOfRange(sec1, identifier, end(sec1, identifier));
    }

    /** Where the content of the DER value at {@code start} begins. */
    private static int content(byte[] der, int start) {
        int length = Byte.toUnsignedInt(der[start + 1]);
        return start + 2 + (length < 0x80 ? 0 : length - 0x80);
    }

    private static int end(byte[] der, int start) {
        int content = content(der, start);
        int length = Byte.toUnsignedInt(der[start + 1]);
        if (length >= 0x80) {
            length = new BigInteger(1, Arrays.copyOfRange(der, start + 2, content)).intValueExact();
        }
        return content + length;
    }

    private static byte[] der(int tag, byte[]... parts) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            content.writeBytes(part);
        }
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        whole.write(tag);
        byte[] length = BigInteger.valueOf(content.size()).toByteArray();
        int sign = length.length > 1 && length[0] == 0 ? 1 : 0;
        if (content.size() >= 0x80) {
            whole.write(0x80 + length.length - sign);
        }
        whole.write(length, sign, length.length - sign);
        whole.writeBytes(content.toByteArray());
        return whole.toByteArray();
    }

    private static byte[] hex(String digits) {
        return HexFormat.of().parseHex(digits);
    }
}
