package com.productsearch.client;

import com.productsearch.v1.BulkAddImagesRequest.Item;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.function.Predicate;

/** The caller's items, for several threads; an item that was not taken is the next one again. */
final class ItemSource implements Iterator<Item> {
    private final Iterator<? extends Item> items;
    private Item refused;

    ItemSource(Iterator<? extends Item> items) {
        this.items = items;
    }

    /** Offers the next item to {@code taker}; false: there is none. */
    synchronized boolean offer(Predicate<Item> taker) {
        if (!hasNext()) {
            return false;
        }
        Item item = next();
        if (!taker.test(item)) {
            refused = item;
        }
        return true;
    }

    @Override
    public synchronized boolean hasNext() {
        return refused != null || items.hasNext();
    }

    @Override
    public synchronized Item next() {
        if (refused != null) {
            Item item = refused;
            refused = null;
            return item;
        }
        if (!items.hasNext()) {
            throw new NoSuchElementException();
        }
        return Objects.requireNonNull(items.next(), "items: an item is null");
    }
}
