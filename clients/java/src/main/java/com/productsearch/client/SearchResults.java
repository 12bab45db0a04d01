package com.productsearch.client;

import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchImagesResponse;
import com.productsearch.v1.SearchResult;
import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * All results of a search, best first. A page is requested when its first result is read. Each
 * {@link #iterator} and {@link #stream} searches anew.
 *
 * <p>Iterating throws {@link ProductSearchException} if a page fails.
 */
public final class SearchResults implements Iterable<SearchResult> {
    private final SearchImagesRequest first;
    private final Function<SearchImagesRequest, SearchImagesResponse> search;

    SearchResults(
            SearchImagesRequest first,
            Function<SearchImagesRequest, SearchImagesResponse> search) {
        this.first = first;
        this.search = search;
    }

    @Override
    public Iterator<SearchResult> iterator() {
        return new Pages();
    }

    /** The same as a sequential stream. */
    public Stream<SearchResult> stream() {
        return StreamSupport.stream(spliterator(), false);
    }

    private final class Pages implements Iterator<SearchResult> {
        private SearchImagesRequest next = first;
        private Iterator<SearchResult> page = Collections.emptyIterator();

        @Override
        public boolean hasNext() {
            // A page can be empty and still not be the last one.
            while (!page.hasNext() && next != null) {
                SearchImagesResponse response = search.apply(next);
                page = response.getResultsList().iterator();
                next = after(response.getNextPageToken());
            }
            return page.hasNext();
        }

        @Override
        public SearchResult next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            return page.next();
        }

        /** The request for the next page; {@code skip} counts from the token, so it is cleared. */
        private SearchImagesRequest after(String token) {
            if (token.isEmpty()) {
                return null;
            }
            return next.toBuilder().setPageToken(token).clearSkip().build();
        }
    }
}
