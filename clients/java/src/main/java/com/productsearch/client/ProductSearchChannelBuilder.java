package com.productsearch.client;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Builds a channel with the options that this service wants; knows no RPC.
 *
 * <p>gRPC's defaults are no deadline, a retry buffer of 1 MiB, which is smaller than an image can
 * be, and minutes until a dead connection is noticed. With this builder, calls without a deadline
 * of their own end after the service config's (30 s for unary calls). Searches, updates and deletes
 * are retried on UNAVAILABLE, adds never.
 *
 * <p>Without {@link #tls}, {@link #trust}, {@link #identity} or {@link #token} the channel is
 * plaintext: for loopback and for a mesh's sidecar.
 */
public final class ProductSearchChannelBuilder {
    /** The largest request with one image: a retry needs all of it in the buffer. */
    private static final long RETRY_BUFFER_BYTES = 4L * 1024 * 1024;

    /** Room for 64 requests, all that the service works on at once. */
    private static final long RETRY_BUFFERS_BYTES = 64 * RETRY_BUFFER_BYTES;

    /** An answer for each signature of the largest batch of deletes that a request has room for. */
    private static final int RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

    /** The service closes connections that ping more often. */
    private static final Duration KEEPALIVE_MIN = Duration.ofSeconds(10);

    /** Addresses of the web, which are no gRPC targets. */
    private static final Pattern OTHER_SCHEME =
            Pattern.compile("(https?|grpcs?|tcp)://", Pattern.CASE_INSENSITIVE);

    private final String target;
    private Duration keepAlive = Duration.ofSeconds(30);
    private Duration keepAliveTimeout = Duration.ofSeconds(10);
    private boolean keepAliveWithoutCalls;
    /** Below the 350 s after which load balancers forget a silent connection. */
    private Duration idleTimeout = Duration.ofMinutes(5);
    private TlsChannelCredentials.Builder tls;
    private boolean plaintext;
    private BearerToken token;
    private Consumer<ManagedChannelBuilder<?>> customization = builder -> {};

    private ProductSearchChannelBuilder(String target) {
        this.target = target;
    }

    /**
     * Begins a channel to the service at {@code target}: {@code host:port}, or a URI of a gRPC name
     * resolver such as {@code dns:///search.example:443}.
     *
     * @throws IllegalArgumentException if it is empty, or an address such as {@code http://...}
     */
    public static ProductSearchChannelBuilder forTarget(String target) {
        if (target == null || target.isBlank()) {
            throw new IllegalArgumentException(
                    "target: is empty; use host:port, such as 127.0.0.1:50051");
        }
        Matcher scheme = OTHER_SCHEME.matcher(target);
        if (scheme.lookingAt()) {
            throw new IllegalArgumentException(
                    "target: is " + target + "; use host:port, without " + scheme.group());
        }
        return new ProductSearchChannelBuilder(target);
    }

    /** Encrypts; the server's certificate is checked against the JVM's trust store. */
    public ProductSearchChannelBuilder tls() {
        if (tls == null) {
            tls = TlsChannelCredentials.newBuilder();
        }
        plaintext = false;
        return this;
    }

    /** Sends everything unencrypted, a token too: for a mesh's sidecar, which encrypts. */
    public ProductSearchChannelBuilder plaintext() {
        tls = null;
        plaintext = true;
        return this;
    }

    /**
     * Sends a bearer token with each call, for a service with a caller policy, and encrypts unless
     * {@link #plaintext} is said. Call credentials of a call or client go in its place.
     *
     * @throws IllegalArgumentException if no header can hold the token
     */
    public ProductSearchChannelBuilder token(String token) {
        this.token = new BearerToken(token);
        return this;
    }

    /** The same with a token that changes: it is asked for with each call; see {@link BearerToken}. */
    public ProductSearchChannelBuilder token(Supplier<String> token) {
        this.token = new BearerToken(token);
        return this;
    }

    /**
     * Encrypts; the server's certificate is checked against the authorities in this file (PEM).
     *
     * @throws IllegalArgumentException if the file cannot be read or holds no certificate
     */
    public ProductSearchChannelBuilder trust(Path authorities) {
        tls();
        try {
            tls.trustManager(PemFile.certificates("authorities", authorities));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return this;
    }

    /**
     * Encrypts, and proves who the caller is (mutual TLS).
     *
     * @param certificates the caller's certificate and those between it and the authority, PEM
     * @param key its private key: PKCS #8 without a password, PEM (BEGIN PRIVATE KEY)
     * @throws IllegalArgumentException if a file cannot be read or holds something else
     */
    public ProductSearchChannelBuilder identity(Path certificates, Path key) {
        tls();
        try {
            tls.keyManager(
                    PemFile.certificates("certificates", certificates),
                    PrivateKeyFile.read("key", key));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return this;
    }

    /**
     * Sets the keepalive: after how long without data from the server it is pinged, 10 s or more
     * (default 30 s), and how long the answer may take (default 10 s) before the connection is
     * closed.
     */
    public ProductSearchChannelBuilder keepAlive(Duration interval, Duration timeout) {
        if (interval.compareTo(KEEPALIVE_MIN) < 0) {
            throw new IllegalArgumentException(
                    "interval: " + interval + " is too short; the service allows " + KEEPALIVE_MIN);
        }
        keepAlive = interval;
        keepAliveTimeout = positive("timeout", timeout);
        return this;
    }

    /**
     * Sets whether the server is pinged while no call is under way. Default: false; a dead
     * connection is then noticed with the next call.
     */
    public ProductSearchChannelBuilder keepAliveWithoutCalls(boolean enable) {
        keepAliveWithoutCalls = enable;
        return this;
    }

    /** Sets after how long without calls the connection is closed; the next call opens it anew. */
    public ProductSearchChannelBuilder idleTimeout(Duration timeout) {
        idleTimeout = positive("timeout", timeout);
        return this;
    }

    /**
     * Changes gRPC's channel builder after all other settings: interceptors, executor, load
     * balancing, buffer sizes.
     */
    public ProductSearchChannelBuilder customize(Consumer<ManagedChannelBuilder<?>> change) {
        customization = customization.andThen(Objects.requireNonNull(change));
        return this;
    }

    /** Builds the channel. It connects on first use and can be shared by all threads. */
    public ManagedChannel build() {
        if (token != null && !plaintext) {
            tls(); // a token is a secret
        }
        ChannelCredentials credentials =
                tls == null ? InsecureChannelCredentials.create() : tls.build();
        ManagedChannelBuilder<?> builder =
                Grpc.newChannelBuilder(target, credentials)
                        .defaultServiceConfig(ServiceConfig.read())
                        .enableRetry()
                        .perRpcBufferLimit(RETRY_BUFFER_BYTES)
                        .retryBufferSize(RETRY_BUFFERS_BYTES)
                        .maxInboundMessageSize(RESPONSE_BYTES_MAX)
                        .keepAliveTime(keepAlive.toNanos(), TimeUnit.NANOSECONDS)
                        .keepAliveTimeout(keepAliveTimeout.toNanos(), TimeUnit.NANOSECONDS)
                        .keepAliveWithoutCalls(keepAliveWithoutCalls)
                        .idleTimeout(idleTimeout.toNanos(), TimeUnit.NANOSECONDS);
        builder.intercept(new RefusalInterceptor());
        if (token != null) {
            builder.intercept(new TokenInterceptor(token));
        }
        customization.accept(builder);
        return builder.build();
    }

    /** Builds the channel and returns a client over it; closing the client closes the channel. */
    public ProductSearchClient connect() {
        return new ProductSearchClient(build());
    }

    static Duration positive(String name, Duration value) {
        if (value.isZero() || value.isNegative()) {
            throw new IllegalArgumentException(name + ": " + value + " is not positive");
        }
        return value;
    }
}
