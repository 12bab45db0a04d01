package com.productsearch.client;

import com.productsearch.v1.BulkAddImagesRequest.Item;
import java.util.Iterator;
import java.util.List;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * A bulk stream ended before its summary, so some items have no result: they may or may not have
 * been stored. Send {@link #rest} again with DUPLICATE_POLICY_KEEP.
 *
 * <p>Code and reason are those that the stream ended with. {@link #isRetryable} says whether sending
 * again can help: a replica stopped, or a connection was lost.
 */
public final class BulkInterruptedException extends ProductSearchException {
    private final transient List<Item> unanswered;
    private final transient Iterator<Item> unread;

    BulkInterruptedException(
            Throwable reason, String target, List<Item> unanswered, Iterator<Item> unread) {
        super("interrupted with " + unanswered.size() + " items unanswered: ", reason, target);
        this.unanswered = unanswered;
        this.unread = unread;
    }

    /** The items that were sent and have no result, in the order of sending. */
    public List<Item> unanswered() {
        return unanswered;
    }

    /**
     * All that is still to be sent: the unanswered items, then the items that were not yet read
     * from the caller's iterator. Can be read once.
     */
    public Iterator<Item> rest() {
        Spliterator<Item> later = Spliterators.spliteratorUnknownSize(unread, Spliterator.ORDERED);
        return Stream.concat(unanswered.stream(), StreamSupport.stream(later, false)).iterator();
    }
}
