package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchImagesResponse;
import com.productsearch.v1.SearchResult;
import io.grpc.Status.Code;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SearchResultsTest {
    private final PagedService service = new PagedService();
    private final TestServer server = new TestServer(service);
    private final ProductSearchClient client = ProductSearchClient.connect(server.address());

    @AfterEach
    void stop() {
        client.close();
        server.close();
    }

    /** All pages come in order, empty ones are passed over, and each can be read again. */
    @Test
    void readsAllPagesInOrder() {
        SearchResults results = client.searchAll(request());
        List<String> signs = new ArrayList<>();
        results.forEach(result -> signs.add(result.getContSign()));
        assertEquals(List.of("a", "b", "c"), signs);
        assertEquals(signs, results.stream().map(SearchResult::getContSign).toList());
    }

    /** The next page is asked for with the token and everything else as it was, but skip. */
    @Test
    void asksForThePageAfter() {
        client.searchAll(request()).forEach(result -> {});
        assertEquals(
                List.of(
                        request(),
                        request().toBuilder().setPageToken("2").clearSkip().build(),
                        request().toBuilder().setPageToken("3").clearSkip().build()),
                service.requests);
    }

    /** A page is asked for only when one of its results is. */
    @Test
    void isLazy() {
        Iterator<SearchResult> results = client.searchAll(request()).iterator();
        assertEquals(0, service.requests.size());
        results.next();
        results.next();
        assertEquals(1, service.requests.size());
        assertEquals(
                "a", client.searchAll(request()).stream().findFirst().orElseThrow().getContSign());
        assertEquals(2, service.requests.size());
        assertTrue(results.hasNext());
        assertEquals(4, service.requests.size());
        results.next();
        assertFalse(results.hasNext());
        assertThrows(NoSuchElementException.class, results::next);
    }

    /** A page that fails throws at its place, after the results of those before. */
    @Test
    void aFailedPageThrowsAtItsPlace() {
        service.failing = "2";
        Iterator<SearchResult> results = client.searchAll(request()).iterator();
        assertEquals("a", results.next().getContSign());
        assertEquals("b", results.next().getContSign());
        ProductSearchException error =
                assertThrows(ProductSearchException.class, results::hasNext);
        assertEquals(Optional.of(ErrorReason.PAGE_TOKEN_INVALID), error.reason());
    }

    private static SearchImagesRequest request() {
        return SearchImagesRequest.newBuilder()
                .setLibrary("shoes")
                .setPageSize(2)
                .setSkip(7)
                .setMinScore(0.5)
                .build();
    }

    /** Three pages, of which the second is empty. */
    private static final class PagedService extends ProductSearchImplBase {
        private static final Map<String, SearchImagesResponse> PAGES =
                Map.of("", page("2", "a", "b"), "2", page("3"), "3", page("", "c"));

        final List<SearchImagesRequest> requests = new CopyOnWriteArrayList<>();
        volatile String failing = "none";

        @Override
        public void searchImages(
                SearchImagesRequest request, StreamObserver<SearchImagesResponse> answer) {
            requests.add(request);
            if (request.getPageToken().equals(failing)) {
                answer.onError(
                        Failures.thrown(
                                Failures.status(
                                        Code.INVALID_ARGUMENT, ErrorReason.PAGE_TOKEN_INVALID)));
                return;
            }
            answer.onNext(PAGES.get(request.getPageToken()));
            answer.onCompleted();
        }

        private static SearchImagesResponse page(String next, String... signs) {
            SearchImagesResponse.Builder page =
                    SearchImagesResponse.newBuilder().setNextPageToken(next);
            for (String sign : signs) {
                page.addResults(SearchResult.newBuilder().setContSign(sign));
            }
            return page.build();
        }
    }
}
