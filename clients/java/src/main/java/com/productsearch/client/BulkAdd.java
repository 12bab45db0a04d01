package com.productsearch.client;

import com.productsearch.v1.BulkAddImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.BulkAddImagesResponse;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchStub;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * One bulk stream. Iterate over it for the results, which come in the order of completion; after
 * the last one there is a {@link #summary}.
 *
 * <p>A thread of its own reads the caller's items, only as fast as the stream takes them and at
 * most 64 ahead of the results that were taken. A slow service or a slow reader of results
 * therefore does not fill the memory. If reading the items fails, the results of the items before
 * come first, then that failure is thrown.
 *
 * <p>Iterating throws {@link BulkInterruptedException} if the stream ends without a summary. Close
 * the stream unless it was read to its end: that cancels what is under way. Results are read by one
 * thread; {@link #close} can be called by any.
 */
public final class BulkAdd implements Iterable<ItemResult>, AutoCloseable {
    /** Items between being read and having their result taken; the service works on 8 at once. */
    static final int AHEAD_MAX = 64;

    private final ItemSource items;
    private final Settings settings;
    private final String target;
    private final Results results = new Results();
    private final Thread sender = new Thread(this::send, "productsearch-bulk-add");

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final List<Item> unanswered = new ArrayList<>(AHEAD_MAX);
    private final Queue<ItemResult> arrived = new ArrayDeque<>(AHEAD_MAX);
    private ClientCallStreamObserver<BulkAddImagesRequest> call;
    private boolean allSent;
    private long refused;
    private Throwable sourceFailure;
    private Summary summary;
    private boolean ended;
    private Throwable failure;

    private BulkAdd(String target, Settings settings, Iterator<? extends Item> items) {
        this.target = target;
        this.settings = settings;
        this.items = new ItemSource(items);
        sender.setDaemon(true);
    }

    static BulkAdd start(
            ProductSearchStub stub, Settings settings, Iterator<? extends Item> items) {
        BulkAdd bulk = new BulkAdd(stub.getChannel().authority(), settings, items);
        stub.bulkAddImages(bulk.new Observer());
        bulk.sender.start();
        return bulk;
    }

    /** The results; always the same iterator, since a stream can be read once. */
    @Override
    public Iterator<ItemResult> iterator() {
        return results;
    }

    /** The results as a stream; closing it closes this. */
    public Stream<ItemResult> stream() {
        return StreamSupport.stream(spliterator(), false).onClose(this::close);
    }

    /**
     * Returns the service's counts.
     *
     * @throws IllegalStateException if the results were not read to their end
     */
    public Summary summary() {
        lock.lock();
        try {
            if (!complete() || !arrived.isEmpty()) {
                throw new IllegalStateException("read the results to their end first");
            }
            return summary.toBuilder()
                    .setReceivedCount(summary.getReceivedCount() + refused)
                    .setFailedCount(summary.getFailedCount() + refused)
                    .build();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Cancels the stream unless it has ended, and interrupts the thread that reads the items. What
     * was sent may or may not be stored.
     */
    @Override
    public void close() {
        cancel("closed by the caller");
    }

    private void cancel(String why) {
        if (end(Status.CANCELLED.withDescription(why).asRuntimeException())) {
            call.cancel(why, null);
            sender.interrupt();
        }
    }

    /** Runs in the sender's thread. */
    private void send() {
        Throwable broken = null;
        try {
            if (!settings.equals(Settings.getDefaultInstance())) {
                sendUnlessEnded(BulkAddImagesRequest.newBuilder().setSettings(settings).build());
            }
            while (awaitPlace() && items.offer(this::sendItem)) {}
        } catch (Throwable e) {
            broken = e;
        }
        lock.lock();
        try {
            if (!ended) {
                sourceFailure = broken;
                allSent = true;
                call.onCompleted();
            }
        } finally {
            lock.unlock();
        }
    }

    private boolean sendItem(Item item) {
        lock.lock();
        try {
            Optional<com.google.rpc.Status> refusal = Refusals.of(item);
            if (refusal.isPresent()) {
                return refuseUnlessEnded(item, refusal.get());
            }
            if (!sendUnlessEnded(BulkAddImagesRequest.newBuilder().setItem(item).build())) {
                return false;
            }
            unanswered.add(item);
            return true;
        } finally {
            lock.unlock();
        }
    }

    /** Answers an item that cannot be sent: gRPC would end the whole stream for it. */
    private boolean refuseUnlessEnded(Item item, com.google.rpc.Status error) {
        if (!ended) {
            refused++;
            arrived.add(ItemResult.newBuilder().setKey(item.getKey()).setError(error).build());
            changed.signalAll();
        }
        return !ended;
    }

    private boolean sendUnlessEnded(BulkAddImagesRequest request) {
        lock.lock();
        try {
            if (!ended) {
                call.onNext(request);
            }
            return !ended;
        } catch (RuntimeException e) {
            end(e);
            call.cancel("sending failed", e);
            return false;
        } finally {
            lock.unlock();
        }
    }

    /** Waits until one more item may be sent; false: the stream has ended. */
    private boolean awaitPlace() {
        lock.lock();
        try {
            while (!ended && !(call.isReady() && unanswered.size() + arrived.size() < AHEAD_MAX)) {
                changed.awaitUninterruptibly();
            }
            return !ended;
        } finally {
            lock.unlock();
        }
    }

    /** Lets nothing more be sent or arrive; false: it had ended before. */
    private boolean end(Throwable reason) {
        lock.lock();
        try {
            if (ended) {
                return false;
            }
            ended = true;
            failure = reason;
            changed.signalAll();
            return true;
        } finally {
            lock.unlock();
        }
    }

    private boolean complete() {
        return ended && summary != null && allSent && unanswered.isEmpty();
    }

    private BulkInterruptedException interruption() {
        Throwable reason = failure;
        if (reason == null) {
            reason =
                    Status.UNKNOWN
                            .withDescription("the service ended the stream too early")
                            .asRuntimeException();
        }
        BulkInterruptedException interruption =
                new BulkInterruptedException(
                        reason, target, List.copyOf(unanswered), items);
        if (sourceFailure != null) {
            interruption.addSuppressed(sourceFailure);
        }
        return interruption;
    }

    private RuntimeException brokenSource() {
        if (sourceFailure instanceof Error error) {
            throw error;
        }
        return sourceFailure instanceof RuntimeException exception
                ? exception
                : new IllegalStateException("the items could not be read", sourceFailure);
    }

    /** What the caller iterates over. */
    private final class Results implements Iterator<ItemResult> {
        @Override
        public boolean hasNext() {
            lock.lock();
            try {
                while (arrived.isEmpty() && !ended) {
                    changed.await();
                }
            } catch (InterruptedException e) {
                cancel("interrupted while waiting for results");
                Thread.currentThread().interrupt();
            } finally {
                lock.unlock();
            }
            return hasArrived();
        }

        private boolean hasArrived() {
            lock.lock();
            try {
                if (arrived.isEmpty() && !complete()) {
                    throw interruption();
                }
                if (arrived.isEmpty() && sourceFailure != null) {
                    throw brokenSource();
                }
                return !arrived.isEmpty();
            } finally {
                lock.unlock();
            }
        }

        @Override
        public ItemResult next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            lock.lock();
            try {
                changed.signalAll();
                call.request(1);
                return arrived.remove();
            } finally {
                lock.unlock();
            }
        }
    }

    /** What gRPC calls back. */
    private final class Observer
            implements ClientResponseObserver<BulkAddImagesRequest, BulkAddImagesResponse> {
        @Override
        public void beforeStart(ClientCallStreamObserver<BulkAddImagesRequest> requests) {
            call = requests;
            call.disableAutoRequestWithInitial(AHEAD_MAX);
            call.setOnReadyHandler(this::ready);
        }

        private void ready() {
            lock.lock();
            try {
                changed.signalAll();
            } finally {
                lock.unlock();
            }
        }

        @Override
        public void onNext(BulkAddImagesResponse response) {
            lock.lock();
            try {
                if (ended) {
                    return;
                }
                switch (response.getPartCase()) {
                    case RESULT -> arrive(response.getResult());
                    case SUMMARY -> summary = response.getSummary();
                    default -> call.request(1); // A part newer than this client.
                }
            } finally {
                lock.unlock();
            }
        }

        private void arrive(ItemResult result) {
            for (int i = 0; i < unanswered.size(); i++) {
                if (unanswered.get(i).getKey().equals(result.getKey())) {
                    unanswered.remove(i);
                    break;
                }
            }
            arrived.add(result);
            changed.signalAll();
        }

        @Override
        public void onError(Throwable reason) {
            end(reason);
        }

        @Override
        public void onCompleted() {
            end(null);
        }
    }
}
