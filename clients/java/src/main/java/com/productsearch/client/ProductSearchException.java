package com.productsearch.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.productsearch.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * Says why a call, or one item of a bulk stream, or one signature of a batch failed.
 *
 * <p>The accessors read the {@code google.rpc} details of the status. They are empty if the error
 * has no such detail, as with gRPC's own errors (no connection, deadline). None of them throws.
 *
 * <p>{@link #getMessage} has all that is known in one line: reason, message, code, retry delay and
 * log_id. An address that cannot be reached is named with the cause.
 */
public class ProductSearchException extends RuntimeException {
    static final String DOMAIN = "productsearch.v1";
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    /** Netty's words. */
    private static final String NOT_HTTP2 = "First received frame was not SETTINGS";

    /** What a google.protobuf.Duration may hold at most: 10,000 years. */
    private static final long RETRY_DELAY_S_MAX = 315_576_000_000L;

    private final Status.Code code;
    private final com.google.rpc.Status status;

    private ProductSearchException(
            String message, Status.Code code, com.google.rpc.Status status, Throwable cause) {
        super(message, cause);
        this.code = code;
        this.status = status;
    }

    /** The failure of a call to {@code target}. */
    ProductSearchException(String prefix, Throwable failure, String target) {
        this(
                prefix + messageOf(codeOf(failure), statusOf(failure), target, failure),
                codeOf(failure),
                statusOf(failure),
                failure);
    }

    /**
     * Reads a failure of the generated stubs: a StatusRuntimeException or StatusException, or
     * something that was caused by one. Anything else has code UNKNOWN.
     */
    public static ProductSearchException from(Throwable failure) {
        return from(failure, null);
    }

    /** The same for a call to {@code target}, which the message names if it cannot be reached. */
    static ProductSearchException from(Throwable failure, String target) {
        if (failure instanceof ProductSearchException already) {
            return already;
        }
        return new ProductSearchException("", failure, target);
    }

    /** Reads the error of one bulk item or of one signature of a batch. */
    public static ProductSearchException from(com.google.rpc.Status error) {
        Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
        return new ProductSearchException(messageOf(code, error, null, null), code, error, null);
    }

    /** The trailers with which the service sends a status. */
    static Metadata trailersOf(com.google.rpc.Status status) {
        Metadata trailers = new Metadata();
        trailers.put(DETAILS, status.toByteArray());
        return trailers;
    }

    /** The gRPC code. */
    public Status.Code code() {
        return code;
    }

    /** The status message alone. */
    public String description() {
        return status.getMessage();
    }

    /** The whole status with its details. */
    public com.google.rpc.Status status() {
        return status;
    }

    /**
     * Why the call failed; empty for gRPC's own errors, ERROR_REASON_UNSPECIFIED for a reason newer
     * than this client.
     */
    public Optional<ErrorReason> reason() {
        return info(status).map(ProductSearchException::reasonOf);
    }

    /**
     * Whether the same call can succeed later; adds are repeated with the policy KEEP.
     *
     * <p>True if the service names a delay ({@link #retryDelay}), if it says ADD_OUTCOME_UNKNOWN,
     * and for UNAVAILABLE without a reason, which gRPC or a mesh says of a connection that is
     * refused or lost: then wait about a second, and longer each time.
     */
    public boolean isRetryable() {
        Optional<ErrorReason> reason = reason();
        return retryDelay().isPresent()
                || reason.equals(Optional.of(ErrorReason.ADD_OUTCOME_UNKNOWN))
                || reason.isEmpty() && code == Status.Code.UNAVAILABLE;
    }

    /** After how long a retry can succeed; empty: the service names no time. */
    public Optional<Duration> retryDelay() {
        return retryDelayOf(status);
    }

    private static Optional<Duration> retryDelayOf(com.google.rpc.Status status) {
        return detail(status, RetryInfo.getDefaultInstance())
                .map(RetryInfo::getRetryDelay)
                .map(ProductSearchException::within);
    }

    /** A delay as it can be waited for, whatever a proxy may have written. */
    private static Duration within(com.google.protobuf.Duration delay) {
        long seconds = Math.max(0, Math.min(delay.getSeconds(), RETRY_DELAY_S_MAX));
        int nanos = delay.getSeconds() < 0 ? 0 : Math.max(0, delay.getNanos());
        return Duration.ofSeconds(seconds, Math.min(nanos, 999_999_999));
    }

    /** What was wrong with which field and what would be right: field path to description. */
    public Map<String, String> fieldViolations() {
        Map<String, String> violations = new LinkedHashMap<>();
        detail(status, BadRequest.getDefaultInstance()).stream()
                .flatMap(request -> request.getFieldViolationsList().stream())
                .forEach(wrong -> violations.put(wrong.getField(), wrong.getDescription()));
        return Collections.unmodifiableMap(violations);
    }

    /** The signature of the image that is stored already (IMAGE_ALREADY_EXISTS). */
    public Optional<String> contSign() {
        return metadata(status, "contSign");
    }

    /** The upstream's error_code, for its error table. */
    public OptionalInt upstreamCode() {
        try {
            return metadata(status, "upstreamCode")
                    .filter(ProductSearchException::isDecimal)
                    .map(text -> OptionalInt.of(Integer.parseInt(text)))
                    .orElse(OptionalInt.empty());
        } catch (NumberFormatException tooLarge) {
            return OptionalInt.empty();
        }
    }

    /**
     * The upstream's log_id of the failed call, for its support. An unsigned 64-bit number: print
     * it with {@link Long#toUnsignedString(long)}.
     */
    public OptionalLong logId() {
        return logIdOf(status);
    }

    private static OptionalLong logIdOf(com.google.rpc.Status status) {
        try {
            return metadata(status, "logId")
                    .filter(ProductSearchException::isDecimal)
                    .map(text -> OptionalLong.of(Long.parseUnsignedLong(text)))
                    .orElse(OptionalLong.empty());
        } catch (NumberFormatException tooLarge) {
            return OptionalLong.empty();
        }
    }

    private static Optional<String> metadata(com.google.rpc.Status status, String key) {
        return info(status).map(info -> info.getMetadataMap().get(key));
    }

    private static Status.Code codeOf(Throwable failure) {
        return Status.fromThrowable(failure).getCode();
    }

    private static com.google.rpc.Status statusOf(Throwable failure) {
        Status plain = Status.fromThrowable(failure);
        Metadata trailers = trailersOf(failure);
        byte[] details = trailers == null ? null : trailers.get(DETAILS);
        if (details != null) {
            try {
                return com.google.rpc.Status.parseFrom(details);
            } catch (InvalidProtocolBufferException e) {
                // Details that cannot be decoded must not hide the code and message beside them.
            }
        }
        String message = plain.getDescription() == null ? "" : plain.getDescription();
        return com.google.rpc.Status.newBuilder()
                .setCode(plain.getCode().value())
                .setMessage(message)
                .build();
    }

    private static Metadata trailersOf(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof StatusRuntimeException e) {
                return e.getTrailers();
            }
            if (cause instanceof StatusException e) {
                return e.getTrailers();
            }
        }
        return null;
    }

    private static String messageOf(
            Status.Code code, com.google.rpc.Status status, String target, Throwable failure) {
        Optional<String> reason = info(status).map(ErrorInfo::getReason);
        String description = status.getMessage();
        if (reason.isEmpty() && target != null) {
            if (code == Status.Code.UNAVAILABLE) {
                description = "cannot reach " + target + ": " + withCause(description, failure);
            } else if (isOtherServer(failure)) {
                description = "cannot reach " + target + ": what answers there is no gRPC service";
            }
        }
        List<String> told = new ArrayList<>();
        reason.ifPresent(name -> told.add(code.name()));
        retryDelayOf(status)
                .map(delay -> BigDecimal.valueOf(delay.toMillis(), 3).stripTrailingZeros())
                .ifPresent(delay -> told.add("retry after " + delay.toPlainString() + " s"));
        metadata(status, "contSign").ifPresent(sign -> told.add("cont_sign " + sign));
        logIdOf(status).ifPresent(id -> told.add("log_id " + Long.toUnsignedString(id)));
        return reason.orElse(code.name())
                + (description.isEmpty() ? "" : ": " + description)
                + (told.isEmpty() ? "" : " (" + String.join(", ", told) + ")");
    }

    /** grpc-java says "http2 exception" of a server that answers in HTTP/1. */
    private static boolean isOtherServer(Throwable failure) {
        // grpc-netty-shaded is no dependency of this code, only of the channel.
        Throwable root = rootOf(failure);
        return root.getClass().getSimpleName().equals("Http2Exception")
                && String.valueOf(root.getMessage()).startsWith(NOT_HTTP2);
    }

    private static Throwable rootOf(Throwable failure) {
        Throwable root = failure;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root;
    }

    /**
     * grpc-java says "io exception", with the handlers of the connection in further lines, and
     * leaves what happened to the cause.
     */
    private static String withCause(String told, Throwable failure) {
        Throwable root = rootOf(failure);
        String description = told.lines().findFirst().orElse("");
        // grpc-netty-shaded is no dependency of this code, only of the channel.
        if (root.getClass().getSimpleName().equals("NotSslRecordException")) {
            return "the service there speaks no TLS";
        }
        String why = root.getMessage();
        if (root == failure || why == null || description.contains(why)) {
            return description;
        }
        return description.isEmpty() ? why : description + ": " + why;
    }

    private static ErrorReason reasonOf(ErrorInfo info) {
        try {
            return ErrorReason.valueOf(info.getReason());
        } catch (IllegalArgumentException newer) {
            return ErrorReason.ERROR_REASON_UNSPECIFIED;
        }
    }

    private static Optional<ErrorInfo> info(com.google.rpc.Status status) {
        return detail(status, ErrorInfo.getDefaultInstance())
                .filter(info -> info.getDomain().equals(DOMAIN));
    }

    @SuppressWarnings("unchecked")
    private static <T extends Message> Optional<T> detail(com.google.rpc.Status status, T kind) {
        for (Any packed : status.getDetailsList()) {
            if (packed.is(kind.getClass())) {
                try {
                    return Optional.of((T) packed.unpack(kind.getClass()));
                } catch (InvalidProtocolBufferException e) {
                    return Optional.empty();
                }
            }
        }
        return Optional.empty();
    }

    private static boolean isDecimal(String text) {
        return text.matches("[0-9]+");
    }
}
