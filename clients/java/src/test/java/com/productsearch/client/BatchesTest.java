package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BatchDeleteImagesResponse;
import com.productsearch.v1.BatchDeleteImagesResponse.Result;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import io.grpc.Status.Code;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BatchesTest {
    /** Any number of signatures goes out in calls of 10,000 at most, and each has its result. */
    @Test
    void splits() {
        for (List<Integer> sizes :
                List.of(
                        List.of(0),
                        List.of(1),
                        List.of(10_000),
                        List.of(10_000, 1),
                        List.of(10_000, 10_000, 5_000))) {
            Batch service = new Batch(Integer.MAX_VALUE);
            BatchDeleteImagesRequest request = request(sizes.stream().mapToInt(n -> n).sum());
            BatchDeleteImagesResponse response = delete(service, request);
            assertEquals(
                    sizes,
                    service.calls.stream().map(BatchDeleteImagesRequest::getContSignsCount).toList());
            for (BatchDeleteImagesRequest call : service.calls) {
                assertEquals("shoes", call.getLibrary());
                assertTrue(call.getAllowMissing());
            }
            assertEquals(sizes.size(), response.getFailedCount());
            assertSameOrder(request, response);
        }
    }

    /** The first call's failure is the whole one's; a later one stands beside what it left undone. */
    @Test
    void keepsWhatWasDone() {
        BatchDeleteImagesRequest request = request(25_000);
        Batch early = new Batch(1);
        ProductSearchException error =
                assertThrows(ProductSearchException.class, () -> delete(early, request));
        assertEquals(ErrorReason.RATE_LIMITED, error.reason().orElseThrow());
        assertEquals(1, early.calls.size());

        Batch late = new Batch(2);
        BatchDeleteImagesResponse response = delete(late, request);
        assertEquals(2, late.calls.size());
        assertSameOrder(request, response);
        assertEquals(15_001, response.getFailedCount());
        for (int i = 0; i < request.getContSignsCount(); i++) {
            Result result = response.getResults(i);
            assertEquals(i == 0 || i >= 10_000, result.hasError(), "result " + i);
        }
        ProductSearchException last =
                ProductSearchException.from(response.getResults(24_999).getError());
        assertEquals(ErrorReason.RATE_LIMITED, last.reason().orElseThrow());
    }

    private static BatchDeleteImagesRequest request(int count) {
        return BatchDeleteImagesRequest.newBuilder()
                .setLibrary("shoes")
                .setAllowMissing(true)
                .addAllContSigns(IntStream.range(0, count).mapToObj(i -> "1," + i).toList())
                .build();
    }

    private static BatchDeleteImagesResponse delete(
            Batch service, BatchDeleteImagesRequest request) {
        try (TestServer server = new TestServer(service);
                ProductSearchClient client = ProductSearchClient.connect(server.address())) {
            return client.batchDelete(request);
        }
    }

    private static void assertSameOrder(
            BatchDeleteImagesRequest request, BatchDeleteImagesResponse response) {
        assertEquals(
                List.copyOf(request.getContSignsList()),
                response.getResultsList().stream().map(Result::getContSign).toList());
    }

    /** Fails the first signature of each call, and from one call on all of them. */
    private static final class Batch extends ProductSearchImplBase {
        final List<BatchDeleteImagesRequest> calls = new ArrayList<>();
        private final int failing;

        Batch(int failing) {
            this.failing = failing;
        }

        @Override
        public void batchDeleteImages(
                BatchDeleteImagesRequest request,
                StreamObserver<BatchDeleteImagesResponse> answer) {
            calls.add(request);
            if (calls.size() >= failing) {
                answer.onError(
                        Failures.thrown(
                                Failures.status(
                                        Code.RESOURCE_EXHAUSTED, ErrorReason.RATE_LIMITED)));
                return;
            }
            BatchDeleteImagesResponse.Builder response =
                    BatchDeleteImagesResponse.newBuilder().setFailedCount(1);
            for (String sign : request.getContSignsList()) {
                response.addResultsBuilder().setContSign(sign);
            }
            if (response.getResultsCount() > 0) {
                response.getResultsBuilder(0)
                        .setError(Failures.status(Code.NOT_FOUND, ErrorReason.IMAGE_NOT_FOUND));
            }
            answer.onNext(response.build());
            answer.onCompleted();
        }
    }
}
