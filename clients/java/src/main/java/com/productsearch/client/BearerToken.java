package com.productsearch.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * Sends a bearer token with each call, for a service with a caller policy.
 *
 * <p>The supplier is asked for the token with each call, so that a new one is used at once. The
 * token goes out on plaintext channels too, for a mesh's sidecar: use TLS where there is none.
 */
public final class BearerToken extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final Supplier<String> token;

    /** Takes each call's token from {@code token}, which must be thread-safe. */
    public BearerToken(Supplier<String> token) {
        this.token = Objects.requireNonNull(token);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        executor.execute(
                () -> {
                    try {
                        Metadata headers = new Metadata();
                        headers.put(AUTHORIZATION, "Bearer " + token.get());
                        applier.apply(headers);
                    } catch (RuntimeException e) {
                        applier.fail(
                                Status.UNAUTHENTICATED
                                        .withDescription("the bearer token supplier failed")
                                        .withCause(e));
                    }
                });
    }
}
