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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
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

    /** An address where nobody listens fails as unavailable, and says nothing more. */
    @Test
    void nobodyThereIsUnavailable() {
        server.close();
        assertEquals(Code.UNAVAILABLE, codeOf(c -> c.addImage(add(10))));
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
