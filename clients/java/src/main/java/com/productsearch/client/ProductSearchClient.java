package com.productsearch.client;

import com.google.protobuf.Message;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BatchDeleteImagesResponse;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.DeleteImageResponse;
import com.productsearch.v1.ProductSearchGrpc;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchBlockingStub;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchImagesResponse;
import com.productsearch.v1.UpdateImageRequest;
import com.productsearch.v1.UpdateImageResponse;
import io.grpc.CallCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import java.time.Duration;
import java.util.Iterator;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * Adds, finds, changes and deletes images. Calls block and fail with {@link
 * ProductSearchException}. One client serves all threads.
 */
public final class ProductSearchClient implements AutoCloseable {
    private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(5);

    private final ManagedChannel channel;
    private final Duration timeout;
    private final CallCredentials credentials;

    private ProductSearchClient(
            ManagedChannel channel, Duration timeout, CallCredentials credentials) {
        this.channel = Objects.requireNonNull(channel);
        this.timeout = timeout;
        this.credentials = credentials;
    }

    /** Calls over {@code channel}, which {@link ProductSearchChannelBuilder} makes. */
    public ProductSearchClient(ManagedChannel channel) {
        this(channel, null, null);
    }

    /**
     * Calls the service at {@code target}, such as {@code 127.0.0.1:50051}, in plaintext. For TLS, a
     * token and other settings: {@code
     * ProductSearchChannelBuilder.forTarget("search.example:443").tls().token(token).connect()}.
     */
    public static ProductSearchClient connect(String target) {
        return new ProductSearchClient(ProductSearchChannelBuilder.forTarget(target).build());
    }

    /**
     * Returns this client with a deadline for each of its calls (each page of {@link #searchAll},
     * each whole bulk stream). It shortens the service config's and never lengthens it.
     */
    public ProductSearchClient withTimeout(Duration timeout) {
        return new ProductSearchClient(
                channel, ProductSearchChannelBuilder.positive("timeout", timeout), credentials);
    }

    /** Returns this client with credentials for each call, such as a {@link BearerToken}. */
    public ProductSearchClient withCallCredentials(CallCredentials credentials) {
        return new ProductSearchClient(channel, timeout, Objects.requireNonNull(credentials));
    }

    /** Stores one image with its brief and class ids. */
    public AddImageResponse addImage(AddImageRequest request) {
        return call(request, stub -> stub.addImage(request));
    }

    /** Finds one page of the stored images most like the given one, best first. */
    public SearchImagesResponse searchImages(SearchImagesRequest request) {
        return call(request, stub -> stub.searchImages(request));
    }

    /** Finds all results, page by page as they are read; {@code page_size} is a page's size. */
    public SearchResults searchAll(SearchImagesRequest request) {
        return new SearchResults(request, this::searchImages);
    }

    /** Changes the fields that are set of one stored image. */
    public UpdateImageResponse updateImage(UpdateImageRequest request) {
        return call(request, stub -> stub.updateImage(request));
    }

    /** Deletes one stored image. */
    public DeleteImageResponse deleteImage(DeleteImageRequest request) {
        return call(request, stub -> stub.deleteImage(request));
    }

    /**
     * Deletes up to 10,000 stored images. Each has a result of its own; {@link
     * ProductSearchException#from(com.google.rpc.Status)} reads the error of one.
     */
    public BatchDeleteImagesResponse batchDeleteImages(BatchDeleteImagesRequest request) {
        return call(request, stub -> stub.batchDeleteImages(request));
    }

    /**
     * Deletes any number of stored images: makes a call of {@link #batchDeleteImages} for each
     * 10,000 and returns the results of all, in the order of the request.
     *
     * <p>Throws only if the first call fails. If a later one does, this stops, and that error
     * stands in the result of each signature that was not dealt with. In the error of a malformed
     * signature the index in {@code cont_signs[i]} counts within its call.
     */
    public BatchDeleteImagesResponse batchDelete(BatchDeleteImagesRequest request) {
        return Batches.delete(request, this::batchDeleteImages);
    }

    /**
     * Stores a stream of images; see {@link BulkAdd}. The items are read by another thread. Each
     * should have its own key.
     */
    public BulkAdd bulkAdd(Settings settings, Iterator<? extends Item> items) {
        return BulkAdd.start(
                configured(ProductSearchGrpc.newStub(channel)),
                Objects.requireNonNull(settings),
                Objects.requireNonNull(items));
    }

    /** The same for a collection. */
    public BulkAdd bulkAdd(Settings settings, Iterable<? extends Item> items) {
        return bulkAdd(settings, items.iterator());
    }

    /**
     * The generated stub; its calls throw StatusRuntimeException, of which {@link
     * ProductSearchException#from(Throwable)} reads the details. A timeout runs from now on.
     */
    public ProductSearchBlockingStub stub() {
        return configured(ProductSearchGrpc.newBlockingStub(channel));
    }

    /** The channel, for the generated asynchronous stubs. */
    public ManagedChannel channel() {
        return channel;
    }

    /** Closes the channel, also under the clients that were derived from this one. */
    @Override
    public void close() {
        channel.shutdown();
        try {
            if (!channel.awaitTermination(CLOSE_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)) {
                channel.shutdownNow();
            }
        } catch (InterruptedException e) {
            channel.shutdownNow();
            Thread.currentThread().interrupt();
        }
    }

    private <T> T call(Message request, Function<ProductSearchBlockingStub, T> method) {
        // The channel refuses too, if its builder made it; this needs no channel.
        Refusals.of(request)
                .ifPresent(
                        refusal -> {
                            throw ProductSearchException.from(refusal);
                        });
        try {
            return method.apply(stub());
        } catch (StatusRuntimeException e) {
            throw ProductSearchException.from(e, channel.authority());
        }
    }

    private <S extends AbstractStub<S>> S configured(S stub) {
        S timed =
                timeout == null
                        ? stub
                        : stub.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
        return credentials == null ? timed : timed.withCallCredentials(credentials);
    }
}
