package com.productsearch.client;

import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.AddOutcome;
import com.productsearch.v1.BulkAddImagesRequest;
import com.productsearch.v1.BulkAddImagesResponse;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import io.grpc.Status.Code;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/** Bulk adds that do what a test says: by default each item is added at once. */
class BulkService extends ProductSearchImplBase {
    /** What came in, in order; all streams together. */
    final BlockingQueue<BulkAddImagesRequest> received = new LinkedBlockingQueue<>();

    final CountDownLatch cancelled = new CountDownLatch(1);

    /** The last stream that was begun. */
    volatile Answers answers;

    volatile Consumer<String> onItem = key -> answers.add(key);
    volatile Runnable onEnd = () -> answers.finish();
    volatile boolean reading = true;

    /** The answering side of one stream. */
    static final class Answers {
        private final ServerCallStreamObserver<BulkAddImagesResponse> stream;
        private final Summary.Builder summary = Summary.newBuilder();

        Answers(ServerCallStreamObserver<BulkAddImagesResponse> stream) {
            this.stream = stream;
        }

        synchronized void add(String key) {
            summary.setReceivedCount(summary.getReceivedCount() + 1);
            summary.setAddedCount(summary.getAddedCount() + 1);
            send(
                    ItemResult.newBuilder()
                            .setKey(key)
                            .setAdded(
                                    AddImageResponse.newBuilder()
                                            .setContSign("sign of " + key)
                                            .setOutcome(AddOutcome.ADD_OUTCOME_CREATED)));
        }

        synchronized void fail(String key) {
            summary.setReceivedCount(summary.getReceivedCount() + 1);
            summary.setFailedCount(summary.getFailedCount() + 1);
            send(
                    ItemResult.newBuilder()
                            .setKey(key)
                            .setError(
                                    Failures.status(
                                            Code.INVALID_ARGUMENT, ErrorReason.IMAGE_UNREADABLE)));
        }

        synchronized void finish() {
            stream.onNext(BulkAddImagesResponse.newBuilder().setSummary(summary).build());
            stream.onCompleted();
        }

        synchronized void finishWithoutSummary() {
            stream.onCompleted();
        }

        synchronized void interrupt(Code code, ErrorReason reason) {
            stream.onError(Failures.thrown(Failures.status(code, reason)));
        }

        private void send(ItemResult.Builder result) {
            stream.onNext(BulkAddImagesResponse.newBuilder().setResult(result).build());
        }
    }

    @Override
    public StreamObserver<BulkAddImagesRequest> bulkAddImages(
            StreamObserver<BulkAddImagesResponse> responses) {
        ServerCallStreamObserver<BulkAddImagesResponse> stream =
                (ServerCallStreamObserver<BulkAddImagesResponse>) responses;
        stream.setOnCancelHandler(cancelled::countDown);
        if (!reading) {
            stream.disableAutoRequest();
        }
        answers = new Answers(stream);
        return new StreamObserver<>() {
            @Override
            public void onNext(BulkAddImagesRequest request) {
                received.add(request);
                if (request.hasItem()) {
                    onItem.accept(request.getItem().getKey());
                }
            }

            @Override
            public void onError(Throwable reason) {
                cancelled.countDown();
            }

            @Override
            public void onCompleted() {
                onEnd.run();
            }
        };
    }
}
