package com.productsearch.client;

import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/** A real gRPC server on a free port of loopback, for services that misbehave on purpose. */
public final class TestServer implements AutoCloseable {
    /** As in the real service, so that an image that is too large reaches the handler. */
    private static final int RECEIVE_BYTES_MAX = 21 * 1024 * 1024;

    private final Server server;

    /** Starts serving in plaintext. */
    public TestServer(BindableService service, ServerInterceptor... interceptors) {
        this(InsecureServerCredentials.create(), service, interceptors);
    }

    /** Starts serving with these credentials. */
    public TestServer(
            ServerCredentials credentials,
            BindableService service,
            ServerInterceptor... interceptors) {
        server =
                Grpc.newServerBuilderForPort(0, credentials)
                        .addService(ServerInterceptors.intercept(service, interceptors))
                        .maxInboundMessageSize(RECEIVE_BYTES_MAX)
                        .permitKeepAliveTime(10, TimeUnit.SECONDS)
                        .permitKeepAliveWithoutCalls(true)
                        .build();
        try {
            server.start();
        } catch (IOException e) {
            throw new AssertionError("loopback has a free port", e);
        }
    }

    /** Where it listens. */
    public String address() {
        return "127.0.0.1:" + port();
    }

    int port() {
        return server.getPort();
    }

    @Override
    public void close() {
        server.shutdownNow();
        try {
            server.awaitTermination();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
