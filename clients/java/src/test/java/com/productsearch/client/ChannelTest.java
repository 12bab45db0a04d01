package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchImagesResponse;
import com.productsearch.v1.UpdateImageRequest;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChannelTest {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final Metadata.Key<String> PUSHBACK =
            Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

    private final Arrivals arrivals = new Arrivals();
    private final Unavailable service = new Unavailable();
    private final TestServer server = new TestServer(service, arrivals);
    private final ProductSearchClient client = ProductSearchClient.connect(server.address());

    @AfterEach
    void stop() {
        client.close();
        server.close();
    }

    /** A search is repeated on UNAVAILABLE, with an image of any size that the service takes. */
    @ParameterizedTest
    @ValueSource(ints = {64_000, 300_000, 1_100_000, 2_900_000})
    void aSearchIsRepeated(int imageBytes) {
        service.failures.set(2);
        byte[] content = new byte[imageBytes];
        content[imageBytes - 1] = 1;
        ImageSource image =
                ImageSource.newBuilder().setContent(ByteString.copyFrom(content)).build();
        client.searchImages(SearchImagesRequest.newBuilder().setImage(image).build());
        assertEquals(3, arrivals.calls.size());
        assertEquals(image, service.answered.getImage());
    }

    /** An add is never repeated: it may have been carried out. */
    @Test
    void anAddIsNotRepeated() {
        assertEquals(Code.UNIMPLEMENTED, codeOf(c -> c.addImage(add(10))));
        service.unavailable = true;
        assertEquals(Code.UNAVAILABLE, codeOf(c -> c.addImage(add(10))));
        assertEquals(2, arrivals.calls.size());
    }

    /** Where the service says that it tried often enough, a search is not repeated either. */
    @Test
    void aPushbackIsObeyed() {
        service.failures.set(2);
        service.pushback = true;
        assertEquals(
                Code.UNAVAILABLE,
                codeOf(c -> c.searchImages(SearchImagesRequest.getDefaultInstance())));
        assertEquals(1, arrivals.calls.size());
    }

    /** Calls without a deadline get the service config's; bulk streams have none. */
    @Test
    void callsHaveADeadline() throws InterruptedException {
        codeOf(c -> c.searchImages(SearchImagesRequest.getDefaultInstance()));
        assertAtMost(Duration.ofSeconds(30), arrivals.take().deadline());
        codeOf(c -> c.addImage(add(10)));
        assertAtMost(Duration.ofSeconds(30), arrivals.take().deadline());
        codeOf(c -> c.batchDeleteImages(BatchDeleteImagesRequest.getDefaultInstance()));
        Deadline ofABatch = arrivals.take().deadline();
        assertAtMost(Duration.ofSeconds(300), ofABatch);
        assertFalse(ofABatch.isBefore(Deadline.after(30, TimeUnit.SECONDS)));
        codeOf(c -> c.bulkAdd(Settings.getDefaultInstance(), List.of()).iterator().hasNext());
        assertNull(arrivals.take().deadline());
    }

    /** A timeout of the client shortens each call's deadline and never lengthens it. */
    @Test
    void aTimeoutShortensTheDeadline() throws InterruptedException {
        DeleteImageRequest delete = DeleteImageRequest.getDefaultInstance();
        codeOf(c -> c.withTimeout(Duration.ofSeconds(5)).deleteImage(delete));
        assertAtMost(Duration.ofSeconds(5), arrivals.take().deadline());
        codeOf(c -> c.withTimeout(Duration.ofHours(1)).deleteImage(delete));
        assertAtMost(Duration.ofSeconds(30), arrivals.take().deadline());
    }

    /** A bearer token goes out with each call, fresh each time. */
    @Test
    void aBearerTokenIsSent() throws InterruptedException {
        AtomicInteger tokens = new AtomicInteger();
        ProductSearchClient named =
                client.withCallCredentials(new BearerToken(() -> "t" + tokens.incrementAndGet()));
        UpdateImageRequest update = UpdateImageRequest.getDefaultInstance();
        codeOf(c -> named.updateImage(update));
        assertEquals("Bearer t1", arrivals.take().headers().get(AUTHORIZATION));
        codeOf(c -> named.updateImage(update));
        assertEquals("Bearer t2", arrivals.take().headers().get(AUTHORIZATION));
        ProductSearchClient broken =
                client.withCallCredentials(
                        new BearerToken(
                                () -> {
                                    throw new IllegalStateException("vault is sealed");
                                }));
        assertEquals(Code.UNAUTHENTICATED, codeOf(c -> broken.updateImage(update)));
    }

    /** The channel's token goes with calls and streams, and with plaintext only if that is said. */
    @Test
    void theChannelsTokenIsSent() throws InterruptedException {
        AtomicInteger tokens = new AtomicInteger();
        ProductSearchChannelBuilder changing =
                channel().plaintext().token(() -> " t" + tokens.incrementAndGet() + "\n");
        ProductSearchChannelBuilder fixed = channel().plaintext().token("same");
        for (ProductSearchChannelBuilder builder : List.of(changing, fixed)) {
            try (ProductSearchClient named = builder.connect()) {
                codeOf(c -> named.updateImage(UpdateImageRequest.getDefaultInstance()));
                codeOf(c -> bulk(named));
                codeOf(c -> bulk(named.withCallCredentials(new BearerToken("own"))));
            }
        }
        for (String token : List.of("t1", "t2", "own", "same", "same", "own")) {
            assertEquals("Bearer " + token, arrivals.take().headers().get(AUTHORIZATION));
        }
        try (ProductSearchClient secure = channel().token("secret").connect()) {
            assertEquals(Code.UNAVAILABLE, codeOf(c -> secure.addImage(add(10))));
            assertEquals(0, arrivals.calls.size());
        }
    }

    /** A token that no header can hold is refused, and no error has its text. */
    @ParameterizedTest
    @ValueSource(strings = {"", " \n", "secret\nline", "s\u00e9cret"})
    void aTokenThatCannotBeSentIsRefused(String token) {
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> channel().token(token));
        assertFalse(refused.getMessage().contains("cret"), refused.getMessage());
        for (Supplier<String> supplier : List.<Supplier<String>>of(() -> token, () -> null)) {
            try (ProductSearchClient named = channel().plaintext().token(supplier).connect()) {
                ProductSearchException error =
                        assertThrows(
                                ProductSearchException.class, () -> named.addImage(add(10)));
                assertEquals(Code.UNAUTHENTICATED, error.code());
                assertFalse(error.getMessage().contains("cret"), error.getMessage());
            }
        }
        assertEquals(0, arrivals.calls.size());
    }

    /** An address that cannot be reached is named with the cause, by calls and streams. */
    @Test
    void nobodyThereIsNamed() {
        String address = server.address();
        try (ProductSearchClient secure = channel().tls().connect()) {
            assertNames(address, "the service there speaks no TLS", secure);
        }
        server.close();
        assertNames(address, "Connection refused", client);
        String nowhere = "no-such-host.invalid:1";
        try (ProductSearchClient lost = ProductSearchClient.connect(nowhere)) {
            assertNames(nowhere, "no-such-host.invalid", lost);
        }
    }

    private static void assertNames(String target, String cause, ProductSearchClient unreachable) {
        List<Executable> calls =
                List.of(() -> unreachable.addImage(add(10)), () -> bulk(unreachable));
        for (Executable call : calls) {
            ProductSearchException error = assertThrows(ProductSearchException.class, call);
            String message = error.getMessage();
            assertEquals(Code.UNAVAILABLE, error.code());
            assertTrue(message.contains("cannot reach " + target + ": "), message);
            assertTrue(message.contains(cause), message);
        }
    }

    private static void bulk(ProductSearchClient client) {
        client.bulkAdd(Settings.getDefaultInstance(), List.of()).iterator().hasNext();
    }

    private ProductSearchChannelBuilder channel() {
        return ProductSearchChannelBuilder.forTarget(server.address());
    }

    /** An image of 5 MB reaches the service, whose own error says that it is too large. */
    @Test
    void anOversizedImageGetsTheServicesError() {
        service.tooLarge = true;
        ProductSearchException error =
                assertThrows(ProductSearchException.class, () -> client.addImage(add(5_000_000)));
        assertEquals(ErrorReason.IMAGE_SIZE_INVALID, error.reason().orElseThrow());
    }

    /** Settings that cannot work are refused where they are made. */
    @Test
    void wrongSettingsAreRefused() {
        ProductSearchChannelBuilder channel = ProductSearchChannelBuilder.forTarget("x:1");
        Duration second = Duration.ofSeconds(1);
        assertRefused("target", () -> ProductSearchChannelBuilder.forTarget(" "));
        for (String scheme : List.of("http://", "HTTPS://", "grpc://")) {
            String web = scheme + server.address();
            assertRefused("target", () -> ProductSearchClient.connect(web));
        }
        assertRefused("interval", () -> channel.keepAlive(second, second));
        assertRefused("timeout", () -> channel.keepAlive(second.multipliedBy(10), Duration.ZERO));
        assertRefused("timeout", () -> channel.idleTimeout(Duration.ZERO));
        assertRefused("timeout", () -> client.withTimeout(second.negated()));
    }

    private static void assertRefused(String field, Runnable setting) {
        String message =
                assertThrows(IllegalArgumentException.class, setting::run).getMessage();
        assertTrue(message.startsWith(field + ": "), message);
    }

    private Code codeOf(Consumer<ProductSearchClient> call) {
        try {
            call.accept(client);
            return Code.OK;
        } catch (ProductSearchException e) {
            return e.code();
        }
    }

    private static void assertAtMost(Duration limit, Deadline deadline) {
        assertNotNull(deadline);
        long left = deadline.timeRemaining(TimeUnit.MILLISECONDS);
        assertTrue(left <= limit.toMillis(), left + " ms left");
    }

    private static AddImageRequest add(int imageBytes) {
        ImageSource image =
                ImageSource.newBuilder().setContent(ByteString.copyFrom(new byte[imageBytes]))
                        .build();
        return AddImageRequest.newBuilder()
                .setNewImage(NewImage.newBuilder().setImage(image).setBrief("zeros"))
                .build();
    }

    /** What a call brought along. */
    private record Arrival(Metadata headers, Deadline deadline) {}

    private static final class Arrivals implements ServerInterceptor {
        final BlockingQueue<Arrival> calls = new LinkedBlockingQueue<>();

        Arrival take() throws InterruptedException {
            return calls.take();
        }

        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            calls.add(new Arrival(headers, Context.current().getDeadline()));
            return next.startCall(call, headers);
        }
    }

    /** Answers searches after some failures, and nothing else. */
    private static final class Unavailable extends ProductSearchImplBase {
        final AtomicInteger failures = new AtomicInteger();
        volatile boolean pushback;
        volatile boolean unavailable;
        volatile boolean tooLarge;
        volatile SearchImagesRequest answered;

        @Override
        public void searchImages(
                SearchImagesRequest request, StreamObserver<SearchImagesResponse> answer) {
            if (failures.getAndDecrement() > 0) {
                Metadata trailers = new Metadata();
                if (pushback) {
                    trailers.put(PUSHBACK, "-1");
                }
                answer.onError(Status.UNAVAILABLE.asRuntimeException(trailers));
                return;
            }
            answered = request;
            answer.onNext(SearchImagesResponse.getDefaultInstance());
            answer.onCompleted();
        }

        @Override
        public void addImage(
                AddImageRequest request, StreamObserver<AddImageResponse> answer) {
            if (tooLarge) {
                answer.onError(
                        Failures.thrown(
                                Failures.status(
                                        Code.INVALID_ARGUMENT, ErrorReason.IMAGE_SIZE_INVALID)));
            } else if (unavailable) {
                answer.onError(Status.UNAVAILABLE.asRuntimeException());
            } else {
                super.addImage(request, answer);
            }
        }
    }
}
