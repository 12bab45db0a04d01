package com.productsearch.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/**
 * Sends a bearer token with each call, for a service with a caller policy.
 *
 * <p>The supplier is asked for the token with each call, so that a new one is used at once. The
 * token goes out on plaintext channels too, for a mesh's sidecar: use TLS where there is none.
 */
public final class BearerToken extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private static final Pattern SENDABLE = Pattern.compile("[ -~]+");

    private final Supplier<String> token;

    /**
     * Sends the same token with each call.
     *
     * @throws IllegalArgumentException if no header can hold it
     */
    public BearerToken(String token) {
        String checked = sendable(token);
        this.token = () -> checked;
    }

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
                        headers.put(AUTHORIZATION, "Bearer " + sendable(token.get()));
                        applier.apply(headers);
                    } catch (RuntimeException e) {
                        applier.fail(
                                Status.UNAUTHENTICATED
                                        .withDescription("the bearer token supplier failed")
                                        .withCause(e));
                    }
                });
    }

    /** Returns the token without blanks around it; its text is in no error. */
    private static String sendable(String token) {
        String value = token == null ? "" : token.strip();
        if (!SENDABLE.matcher(value).matches()) {
            throw new IllegalArgumentException(
                    "token: is empty, or has characters that no header can hold");
        }
        return value;
    }
}
