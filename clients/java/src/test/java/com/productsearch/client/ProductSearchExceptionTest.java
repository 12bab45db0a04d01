package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class ProductSearchExceptionTest {
    private static final String LOG_ID_MAX = "18446744073709551615";

    /** Every detail that a server packs into its trailers can be read from the exception. */
    @Test
    void readsEveryDetailOfACall() {
        com.google.rpc.Status sent =
                Failures.status(
                        Code.ALREADY_EXISTS,
                        "IMAGE_ALREADY_EXISTS",
                        Map.of("upstreamCode", "216681", "logId", LOG_ID_MAX, "contSign", "1,2"),
                        RetryInfo.newBuilder()
                                .setRetryDelay(
                                        com.google.protobuf.Duration.newBuilder()
                                                .setSeconds(1)
                                                .setNanos(250_000_000))
                                .build(),
                        BadRequest.newBuilder()
                                .addFieldViolations(violation("new_image.brief", "is empty"))
                                .addFieldViolations(violation("library", "has a space"))
                                .build());
        ProductSearchException error = failureOfACall(sent);
        assertEquals(Code.ALREADY_EXISTS, error.code());
        assertEquals(Optional.of(ErrorReason.IMAGE_ALREADY_EXISTS), error.reason());
        assertEquals("what happened", error.description());
        assertEquals(
                "IMAGE_ALREADY_EXISTS: what happened (ALREADY_EXISTS, retry after 1.25 s,"
                        + " cont_sign 1,2, log_id "
                        + LOG_ID_MAX
                        + ")",
                error.getMessage());
        assertEquals(OptionalInt.of(216681), error.upstreamCode());
        assertEquals(LOG_ID_MAX, Long.toUnsignedString(error.logId().getAsLong()));
        assertEquals(Optional.of("1,2"), error.contSign());
        assertEquals(Optional.of(Duration.ofMillis(1250)), error.retryDelay());
        assertEquals(
                List.of(
                        Map.entry("new_image.brief", "is empty"),
                        Map.entry("library", "has a space")),
                List.copyOf(error.fieldViolations().entrySet()));
        assertEquals(sent, error.status());
    }

    /** The error of one item is read as the error of a call is. */
    @Test
    void readsTheErrorOfAnItem() {
        ProductSearchException error =
                ProductSearchException.from(
                        Failures.status(Code.NOT_FOUND, ErrorReason.IMAGE_NOT_FOUND));
        assertEquals(Code.NOT_FOUND, error.code());
        assertEquals(Optional.of(ErrorReason.IMAGE_NOT_FOUND), error.reason());
    }

    /** An error without details keeps its code and message and says nothing else. */
    @Test
    void saysNothingWhereThereIsNothing() {
        ProductSearchException error =
                ProductSearchException.from(
                        Status.UNAVAILABLE.withDescription("no connection").asRuntimeException());
        assertEquals(Code.UNAVAILABLE, error.code());
        assertEquals("no connection", error.description());
        assertSaysNothing(error);
    }

    /** A reason that a newer service sends is unspecified, not lost. */
    @Test
    void aNewerReasonIsUnspecified() {
        ProductSearchException error =
                ProductSearchException.from(
                        Failures.status(Code.INTERNAL, "REASON_OF_TOMORROW", Map.of()));
        assertEquals(Optional.of(ErrorReason.ERROR_REASON_UNSPECIFIED), error.reason());
        assertEquals(
                "REASON_OF_TOMORROW: what happened (INTERNAL)",
                error.getMessage(),
                "the log shows the word that was sent");
    }

    /** Words of another domain are not taken for ours. */
    @Test
    void anotherDomainSaysNothing() {
        Any foreign =
                Any.pack(
                        ErrorInfo.newBuilder()
                                .setDomain("proxy.example")
                                .setReason("IMAGE_NOT_FOUND")
                                .putMetadata("logId", "1")
                                .build());
        assertSaysNothing(
                ProductSearchException.from(
                        com.google.rpc.Status.newBuilder().setCode(5).addDetails(foreign).build()));
    }

    /** Details that cannot be parsed are no reason to throw or to lose the code. */
    @Test
    void brokenDetailsAreLeftOut() {
        ByteString garbage = ByteString.copyFrom(new byte[] {(byte) 0xff, 1, 2});
        com.google.rpc.Status.Builder status = com.google.rpc.Status.newBuilder().setCode(5);
        for (String kind : List.of("ErrorInfo", "RetryInfo", "BadRequest")) {
            status.addDetails(
                    Any.newBuilder()
                            .setTypeUrl("type.googleapis.com/google.rpc." + kind)
                            .setValue(garbage));
        }
        assertSaysNothing(ProductSearchException.from(status.build()));

        Metadata trailers = new Metadata();
        trailers.put(
                Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
                garbage.toByteArray());
        ProductSearchException error =
                ProductSearchException.from(
                        Status.DATA_LOSS.withDescription("lost").asRuntimeException(trailers));
        assertEquals(Code.DATA_LOSS, error.code());
        assertEquals("lost", error.description());
        assertSaysNothing(error);
    }

    /** Numbers that are none, or do not fit, are left out. */
    @Test
    void numbersThatDoNotFitAreLeftOut() {
        for (String number : List.of("", "-1", "+1", "1.5", "x", "٣", LOG_ID_MAX + "0")) {
            ProductSearchException error =
                    ProductSearchException.from(
                            Failures.status(
                                    Code.INTERNAL,
                                    "UPSTREAM_PROTOCOL",
                                    Map.of("upstreamCode", number, "logId", number)));
            assertEquals(OptionalInt.empty(), error.upstreamCode(), number);
            assertEquals(OptionalLong.empty(), error.logId(), number);
        }
    }

    /** A delay that nobody can wait for becomes the nearest one that can be; nothing throws. */
    @Test
    void impossibleDelaysAreBounded() {
        Map<Long, Long> toldAndRead =
                Map.of(
                        Long.MAX_VALUE, 315_576_000_000L,
                        Long.MAX_VALUE / 1000, 315_576_000_000L,
                        Long.MIN_VALUE, 0L,
                        -1L, 0L,
                        2L, 2L);
        toldAndRead.forEach(
                (told, read) -> {
                    RetryInfo info =
                            RetryInfo.newBuilder()
                                    .setRetryDelay(
                                            com.google.protobuf.Duration.newBuilder()
                                                    .setSeconds(told)
                                                    .setNanos(Integer.MAX_VALUE))
                                    .build();
                    com.google.rpc.Status status =
                            com.google.rpc.Status.newBuilder()
                                    .setCode(14)
                                    .addDetails(Any.pack(info))
                                    .build();
                    var error = ProductSearchException.from(status);
                    assertEquals(read, error.retryDelay().orElseThrow().getSeconds());
                    assertTrue(error.isRetryable());
                });
    }

    /** What is no gRPC failure is UNKNOWN and stays as the cause; ours is not wrapped again. */
    @Test
    void wrapsAnythingOnce() {
        RuntimeException other = new IllegalStateException("boom");
        ProductSearchException error = ProductSearchException.from(other);
        assertEquals(Code.UNKNOWN, error.code());
        assertSame(other, error.getCause());
        assertSame(error, ProductSearchException.from(error));
    }

    private static ProductSearchException failureOfACall(com.google.rpc.Status sent) {
        ProductSearchImplBase failing =
                new ProductSearchImplBase() {
                    @Override
                    public void addImage(
                            AddImageRequest request, StreamObserver<AddImageResponse> answer) {
                        answer.onError(Failures.thrown(sent));
                    }
                };
        try (TestServer server = new TestServer(failing);
                ProductSearchClient client = ProductSearchClient.connect(server.address())) {
            return assertThrows(
                    ProductSearchException.class,
                    () -> client.addImage(AddImageRequest.getDefaultInstance()));
        }
    }

    private static void assertSaysNothing(ProductSearchException error) {
        assertEquals(Optional.empty(), error.reason());
        assertEquals(Optional.empty(), error.retryDelay());
        assertEquals(Optional.empty(), error.contSign());
        assertEquals(OptionalInt.empty(), error.upstreamCode());
        assertEquals(OptionalLong.empty(), error.logId());
        assertEquals(Map.of(), error.fieldViolations());
    }

    private static BadRequest.FieldViolation violation(String field, String description) {
        return BadRequest.FieldViolation.newBuilder()
                .setField(field)
                .setDescription(description)
                .build();
    }
}
