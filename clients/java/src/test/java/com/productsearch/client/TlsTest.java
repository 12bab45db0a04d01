package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.DeleteImageResponse;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import io.grpc.ServerCredentials;
import io.grpc.Status.Code;
import io.grpc.TlsServerCredentials;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TlsTest {
    @TempDir static Path folder;
    private static Certificates.Pair host;
    private static Certificates.Pair caller;
    private static Certificates.Pair stranger;
    private TestServer server;

    @BeforeAll
    static void makeCertificates() throws Exception {
        host = Certificates.make(folder, "host");
        caller = Certificates.make(folder, "caller");
        stranger = Certificates.make(folder, "stranger");
    }

    @AfterEach
    void stop() {
        if (server != null) {
            server.close();
        }
    }

    /** A server whose certificate is trusted is called. */
    @Test
    void aTrustedServerIsCalled() throws IOException {
        server = new TestServer(presenting(host), new Deletes());
        assertEquals(Code.OK, call(channel().trust(host.certificate())));
    }

    /** A server whose certificate nobody vouches for gets no call. */
    @Test
    void anUntrustedServerIsNotCalled() throws IOException {
        server = new TestServer(presenting(host), new Deletes());
        assertEquals(Code.UNAVAILABLE, call(channel().tls()));
        assertEquals(Code.UNAVAILABLE, call(channel().trust(stranger.certificate())));
    }

    /** Why is told in one line, without the pipeline of Netty. */
    @Test
    void anUntrustedServerIsToldInOneLine() throws IOException {
        server = new TestServer(presenting(host), new Deletes());
        String untrusted = messageOf(channel().trust(stranger.certificate()));
        assertEquals(1, untrusted.lines().count(), untrusted);
        assertTrue(untrusted.contains("certification path"), untrusted);
    }

    /** A server that answers in HTTP/1, such as the engine, is named as one. */
    @Test
    void anotherKindOfServerIsNamed() throws IOException {
        try (var listener = new ServerSocket(0, 16, InetAddress.getLoopbackAddress())) {
            Thread answering = new Thread(() -> answerInHttp1(listener));
            answering.start();
            String address = "127.0.0.1:" + listener.getLocalPort();
            assertEquals(
                    "INTERNAL: cannot reach " + address + ": what answers there is no gRPC service",
                    messageOf(ProductSearchChannelBuilder.forTarget(address)));
        }
    }

    private static void answerInHttp1(ServerSocket listener) {
        while (true) {
            try (Socket connection = listener.accept()) {
                connection.getOutputStream().write("HTTP/1.1 400 Bad Request\r\n\r\n".getBytes());
                // Closed before all is read, the connection is reset, and the answer may be lost.
                connection.setSoTimeout(5_000);
                connection.getInputStream().transferTo(OutputStream.nullOutputStream());
            } catch (SocketTimeoutException silent) {
                continue;
            } catch (IOException closed) {
                return;
            }
        }
    }

    /** A service in plaintext is told in one line, without the pipeline of Netty. */
    @Test
    void aServiceWithoutTlsIsToldInOneLine() {
        server = new TestServer(new Deletes());
        try (ProductSearchClient client = channel().trust(host.certificate()).connect()) {
            ProductSearchException error =
                    assertThrows(
                            ProductSearchException.class,
                            () -> client.deleteImage(DeleteImageRequest.getDefaultInstance()));
            assertEquals(Code.UNAVAILABLE, error.code());
            assertEquals(
                    "UNAVAILABLE: cannot reach "
                            + server.address().replace("127.0.0.1", "localhost")
                            + ": the service there speaks no TLS",
                    error.getMessage());
        }
    }

    /** With mutual TLS a caller with the right certificate gets in, and no other. */
    @Test
    void aKnownCallerGetsIn() throws IOException {
        ServerCredentials mutual =
                TlsServerCredentials.newBuilder()
                        .keyManager(host.certificate().toFile(), host.key().toFile())
                        .trustManager(caller.certificate().toFile())
                        .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
                        .build();
        server = new TestServer(mutual, new Deletes());
        assertEquals(
                Code.OK,
                call(
                        channel()
                                .trust(host.certificate())
                                .identity(caller.certificate(), caller.key())));
        assertEquals(
                Code.UNAVAILABLE,
                call(
                        channel()
                                .trust(host.certificate())
                                .identity(stranger.certificate(), stranger.key())));
        assertEquals(Code.UNAVAILABLE, call(channel().trust(host.certificate())));
    }

    /** A file that is missing or holds something else is named at once. */
    @Test
    void aWrongFileIsNamed() throws IOException {
        ProductSearchChannelBuilder channel = ProductSearchChannelBuilder.forTarget("x:1");
        Path missing = folder.resolve("missing.pem");
        Path text = Files.writeString(folder.resolve("text.pem"), "no certificate");
        for (Path wrong : new Path[] {missing, text}) {
            String trust =
                    assertThrows(IllegalArgumentException.class, () -> channel.trust(wrong))
                            .getMessage();
            assertTrue(trust.contains(wrong.toString()), trust);
            String identity =
                    assertThrows(
                                    IllegalArgumentException.class,
                                    () -> channel.identity(caller.certificate(), wrong))
                            .getMessage();
            assertTrue(identity.contains(wrong.toString()), identity);
        }
    }

    private ProductSearchChannelBuilder channel() {
        return ProductSearchChannelBuilder.forTarget("localhost:" + server.port());
    }

    private static Code call(ProductSearchChannelBuilder channel) {
        try (ProductSearchClient client = new ProductSearchClient(channel.build())) {
            client.deleteImage(DeleteImageRequest.getDefaultInstance());
            return Code.OK;
        } catch (ProductSearchException e) {
            return e.code();
        }
    }

    private static String messageOf(ProductSearchChannelBuilder channel) {
        try (ProductSearchClient client = channel.connect()) {
            return assertThrows(
                            ProductSearchException.class,
                            () -> client.deleteImage(DeleteImageRequest.getDefaultInstance()))
                    .getMessage();
        }
    }

    private static ServerCredentials presenting(Certificates.Pair pair) throws IOException {
        return TlsServerCredentials.create(pair.certificate().toFile(), pair.key().toFile());
    }

    private static final class Deletes extends ProductSearchImplBase {
        @Override
        public void deleteImage(
                DeleteImageRequest request, StreamObserver<DeleteImageResponse> answer) {
            answer.onNext(DeleteImageResponse.getDefaultInstance());
            answer.onCompleted();
        }
    }
}
