package com.productsearch.client;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.BulkAddImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.BulkAddImagesResponse;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import com.productsearch.v1.ProductSearchGrpc;
import com.productsearch.v1.SearchImagesRequest;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class RefusalsTest {
    private static final ImageSource LARGE = image(24_000_000);
    private static final String TOLD =
            "24000000 bytes; at most 20971520 (20 MiB) with fit, about 2.9 MB without:"
                    + " scale it down";

    /** Code, reason and field are the service's; no connection is needed. */
    @Test
    void anImageThatIsTooLargeIsNotSent() {
        NewImage added = NewImage.newBuilder().setImage(LARGE).build();
        try (ProductSearchClient client = ProductSearchClient.connect("127.0.0.1:1")) {
            Map<String, Executable> calls =
                    Map.of(
                            "new_image.image.content",
                            () ->
                                    client.addImage(
                                            AddImageRequest.newBuilder()
                                                    .setNewImage(added)
                                                    .build()),
                            "image.content",
                            () ->
                                    client.searchImages(
                                            SearchImagesRequest.newBuilder()
                                                    .setImage(LARGE)
                                                    .build()),
                            "image_ref.image.content",
                            () ->
                                    client.deleteImage(
                                            DeleteImageRequest.newBuilder()
                                                    .setImageRef(Images.refByImage(LARGE))
                                                    .build()));
            calls.forEach(
                    (field, call) -> {
                        var error = assertThrows(ProductSearchException.class, call);
                        assertEquals(Code.INVALID_ARGUMENT, error.code());
                        assertEquals(Optional.of(ErrorReason.IMAGE_SIZE_INVALID), error.reason());
                        assertEquals(Map.of(field, TOLD), error.fieldViolations());
                        assertFalse(error.isRetryable());
                    });
        }
    }

    /** The generated stubs say the same, blocking or not, and send nothing of it. */
    @Test
    void noStubSendsIt() throws InterruptedException {
        SearchImagesRequest request = SearchImagesRequest.newBuilder().setImage(LARGE).build();
        try (TestServer server = new TestServer(new BulkService());
                ProductSearchClient client = ProductSearchClient.connect(server.address())) {
            assertTold(
                    "image.content",
                    assertThrows(
                            StatusRuntimeException.class,
                            () -> client.stub().searchImages(request)));
            var future = ProductSearchGrpc.newFutureStub(client.channel()).searchImages(request);
            assertTold(
                    "image.content",
                    assertThrows(ExecutionException.class, () -> future.get(60, SECONDS)));
        }
    }

    /** A stream of the generated stub ends with it, and later messages are not sent. */
    @Test
    void aStreamOfAStubEndsWithIt() throws InterruptedException {
        BlockingQueue<Throwable> told = new LinkedBlockingQueue<>();
        StreamObserver<BulkAddImagesResponse> observer =
                new StreamObserver<>() {
                    @Override
                    public void onNext(BulkAddImagesResponse response) {}

                    @Override
                    public void onError(Throwable failure) {
                        told.add(failure);
                    }

                    @Override
                    public void onCompleted() {
                        told.add(new AssertionError("the stream ended well"));
                    }
                };
        try (TestServer server = new TestServer(new BulkService());
                ProductSearchClient client = ProductSearchClient.connect(server.address())) {
            StreamObserver<BulkAddImagesRequest> call =
                    ProductSearchGrpc.newStub(client.channel()).bulkAddImages(observer);
            call.onNext(BulkAddImagesRequest.newBuilder().setItem(item(1)).build());
            call.onNext(BulkAddImagesRequest.newBuilder().setItem(item(0)).build());
            call.onNext(BulkAddImagesRequest.newBuilder().setItem(item(2)).build());
            call.onCompleted();
            assertTold("item.new_image.image.content", told.poll(60, SECONDS));
        }
    }

    private static void assertTold(String field, Throwable failure) {
        var error = ProductSearchException.from(failure);
        assertEquals(Code.INVALID_ARGUMENT, error.code());
        assertEquals(Optional.of(ErrorReason.IMAGE_SIZE_INVALID), error.reason());
        assertEquals(Map.of(field, TOLD), error.fieldViolations());
    }

    /** 20 MiB are the service's to judge. */
    @Test
    void theLargestImageIsSent() {
        ImageSource largest = image(Refusals.IMAGE_BYTES_MAX);
        assertEquals(
                Optional.empty(),
                Refusals.of(SearchImagesRequest.newBuilder().setImage(largest).build()));
    }

    /** Its item has the error as its result, the others are stored, the summary counts both. */
    @Test
    void aBulkStreamGoesOnWithoutIt() {
        Set<String> failed = new TreeSet<>();
        Set<String> keys = new TreeSet<>();
        Summary summary;
        try (TestServer server = new TestServer(new BulkService());
                ProductSearchClient client = ProductSearchClient.connect(server.address());
                BulkAdd bulk =
                        client.bulkAdd(
                                Settings.getDefaultInstance(),
                                IntStream.range(0, 200).mapToObj(RefusalsTest::item).iterator())) {
            for (ItemResult result : bulk) {
                keys.add(result.getKey());
                if (result.hasError()) {
                    failed.add(result.getKey());
                    assertEquals(
                            Map.of("new_image.image.content", TOLD),
                            ProductSearchException.from(result.getError()).fieldViolations());
                }
            }
            summary = bulk.summary();
        }
        assertEquals(200, keys.size());
        assertEquals(Set.of("0", "50", "100", "150", "199"), failed);
        assertEquals(
                Summary.newBuilder()
                        .setReceivedCount(200)
                        .setAddedCount(195)
                        .setFailedCount(5)
                        .build(),
                summary);
    }

    private static Item item(int number) {
        NewImage.Builder image = NewImage.newBuilder();
        if (number % 50 == 0 || number == 199) {
            image.setImage(LARGE);
        }
        return Item.newBuilder().setKey(Integer.toString(number)).setNewImage(image).build();
    }

    private static ImageSource image(int bytes) {
        return ImageSource.newBuilder()
                .setContent(ByteString.copyFrom(new byte[bytes]))
                .setFit(true)
                .build();
    }
}
