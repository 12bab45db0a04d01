package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.productsearch.v1.BulkAddImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import com.productsearch.v1.DuplicatePolicy;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import io.grpc.Status.Code;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The timeouts only keep a test that hangs from hanging for ever. */
@Timeout(60)
class BulkAddTest {
    private static final Settings DEFAULT = Settings.getDefaultInstance();
    private static final Settings KEEP =
            Settings.newBuilder().setDuplicatePolicy(DuplicatePolicy.DUPLICATE_POLICY_KEEP).build();

    private final BulkService service = new BulkService();
    private final TestServer server = new TestServer(service);
    private final ProductSearchClient client = ProductSearchClient.connect(server.address());

    @AfterEach
    void stop() throws InterruptedException {
        client.close();
        server.close();
        for (Thread thread : senders()) {
            thread.join();
        }
    }

    /** Of 1,000 items in any order every key is answered once, failures among them, and counted. */
    @Test
    void answersEveryKeyOnce() {
        List<String> held = new ArrayList<>();
        service.onItem =
                key -> {
                    held.add(key);
                    if (held.size() == 7) {
                        answerBackwards(held);
                    }
                };
        service.onEnd =
                () -> {
                    answerBackwards(held);
                    service.answers.finish();
                };
        List<String> keys = new ArrayList<>();
        Set<String> failed = new HashSet<>();
        Summary summary;
        try (BulkAdd bulk = client.bulkAdd(DEFAULT, items(1000))) {
            for (ItemResult result : bulk) {
                keys.add(result.getKey());
                if (result.hasError()) {
                    failed.add(result.getKey());
                    assertEquals(
                            Optional.of(ErrorReason.IMAGE_UNREADABLE),
                            ProductSearchException.from(result.getError()).reason());
                }
            }
            summary = bulk.summary();
        }
        assertEquals(List.of("6", "5", "4", "3", "2", "1", "0"), keys.subList(0, 7));
        assertEquals(1000, keys.size());
        assertEquals(keysOf(items(1000)), new HashSet<>(keys));
        assertEquals(100, failed.size());
        assertEquals(
                Summary.newBuilder()
                        .setReceivedCount(1000)
                        .setAddedCount(900)
                        .setFailedCount(100)
                        .build(),
                summary);
    }

    /** Settings go first, and only if they say something. */
    @Test
    void settingsGoFirst() throws InterruptedException {
        drain(client.bulkAdd(KEEP, items(1)));
        assertEquals(KEEP, service.received.take().getSettings());
        assertTrue(service.received.take().hasItem());
        drain(client.bulkAdd(DEFAULT, items(1)));
        assertTrue(service.received.take().hasItem());
    }

    /** Nothing to add is answered with a summary of nothing. */
    @Test
    void nothingToAdd() {
        assertEquals(Summary.getDefaultInstance(), drain(client.bulkAdd(DEFAULT, items(0))));
    }

    /** Items are read no more than 64 ahead of the results that the caller took. */
    @Test
    void readsNoFurtherThan64Ahead() throws InterruptedException {
        service.onItem = key -> {};
        Counted source = new Counted(items(1000).iterator());
        try (BulkAdd bulk = client.bulkAdd(DEFAULT, source)) {
            takeItems(64);
            for (String key : List.of("0", "1", "2")) {
                service.answers.add(key);
            }
            Iterator<ItemResult> results = bulk.iterator();
            assertTrue(results.hasNext());
            assertEquals(64, source.read.get(), "results that wait do not make room");
            results.next();
            takeItems(1);
            assertEquals(65, source.read.get());
        }
    }

    /** A service that takes nothing is sent nothing more than the transport's window. */
    @Test
    void holdsBackForTheTransport() throws InterruptedException {
        service.reading = false;
        ImageSource image =
                ImageSource.newBuilder()
                        .setContent(ByteString.copyFrom(new byte[1_000_000]))
                        .build();
        Item large = item(0).toBuilder().setNewImage(newImage(image)).build();
        Counted source = new Counted(Collections.nCopies(64, large).iterator());
        try (BulkAdd bulk = client.bulkAdd(DEFAULT, source)) {
            Thread sender = senders().get(0);
            while (source.read.get() == 0 || sender.getState() != Thread.State.WAITING) {
                Thread.sleep(10);
            }
            assertTrue(source.read.get() < 16, source.read + " of 64 images were read");
            assertThrows(IllegalStateException.class, bulk::summary);
        }
    }

    /** A stream that is told to end gives its results, then what to send again. */
    @Test
    void anInterruptionSaysWhatToSendAgain() {
        service.onItem =
                key -> {
                    if (Integer.parseInt(key) % 2 == 0) {
                        service.answers.add(key);
                    }
                    if (key.equals("41")) {
                        service.answers.interrupt(Code.UNAVAILABLE, ErrorReason.SERVER_DRAINING);
                    }
                };
        Set<String> answered = new HashSet<>();
        BulkInterruptedException interruption =
                assertThrows(
                        BulkInterruptedException.class,
                        () -> {
                            try (BulkAdd bulk = client.bulkAdd(DEFAULT, items(1000))) {
                                bulk.forEach(result -> answered.add(result.getKey()));
                            }
                        });
        assertEquals(Optional.of(ErrorReason.SERVER_DRAINING), interruption.reason());
        assertEquals(Code.UNAVAILABLE, interruption.code());
        assertEquals(keysOf(items(42).stream().filter(item -> even(item)).toList()), answered);
        List<String> unanswered =
                interruption.unanswered().stream().map(Item::getKey).toList();
        assertEquals(
                IntStream.range(0, 21).mapToObj(i -> "" + (2 * i + 1)).toList(),
                unanswered.subList(0, 21));

        service.onItem = key -> service.answers.add(key);
        try (BulkAdd bulk = client.bulkAdd(KEEP, interruption.rest())) {
            bulk.forEach(result -> assertTrue(answered.add(result.getKey()), "answered twice"));
            assertEquals(1000 - 21, bulk.summary().getReceivedCount());
        }
        assertEquals(keysOf(items(1000)), answered);
    }

    /** A lost connection is an interruption too. */
    @Test
    void aLostConnectionIsAnInterruption() {
        try (Relay relay = new Relay(server.port());
                ProductSearchClient far = ProductSearchClient.connect(relay.address())) {
            service.onItem =
                    key -> {
                        if (key.equals("9")) {
                            relay.cut();
                        }
                    };
            BulkInterruptedException interruption = interruptionOf(far, items(10));
            assertEquals(Code.UNAVAILABLE, interruption.code());
            assertEquals(items(10), interruption.unanswered());
        }
    }

    /** Where an item cannot even be sent, the stream ends and the item is not lost. */
    @Test
    void aFailureToSendIsAnInterruption() {
        RuntimeException broken = new IllegalStateException("interceptor");
        ProductSearchChannelBuilder channel =
                ProductSearchChannelBuilder.forTarget(server.address())
                        .customize(builder -> builder.intercept(new FailingToSend(broken)));
        try (ProductSearchClient failing = new ProductSearchClient(channel.build())) {
            BulkInterruptedException interruption = interruptionOf(failing, items(3));
            assertSame(broken, interruption.getCause());
            List<Item> rest = new ArrayList<>();
            interruption.rest().forEachRemaining(rest::add);
            assertEquals(items(3), rest);
        }
    }

    /** A stream that ends without a summary, or with one that comes too early, was interrupted. */
    @Test
    void anEndWithoutResultsIsAnInterruption() {
        service.onItem = key -> {};
        service.onEnd = () -> service.answers.finishWithoutSummary();
        assertEquals(items(3), interruptionOf(items(3)).unanswered());
        service.onEnd = () -> service.answers.finish();
        assertEquals(items(3), interruptionOf(items(3)).unanswered(), "no results");
        service.onItem =
                key -> {
                    service.answers.add(key);
                    service.answers.finish();
                };
        BlockingQueue<Item> queue = new LinkedBlockingQueue<>(items(1));
        Iterator<Item> endless = Stream.generate(() -> take(queue)).iterator();
        BulkInterruptedException early = interruptionOf(() -> endless);
        queue.add(item(1));
        assertEquals(List.of(), early.unanswered());
        assertEquals(item(1), early.rest().next(), "what was never sent is not lost");
    }

    /** A stream that fails as a whole says why. */
    @Test
    void wrongSettingsSayWhy() {
        service.onItem =
                key -> service.answers.interrupt(Code.NOT_FOUND, ErrorReason.LIBRARY_UNKNOWN);
        BulkInterruptedException refused = interruptionOf(items(1));
        assertEquals(Code.NOT_FOUND, refused.code());
        assertEquals(Optional.of(ErrorReason.LIBRARY_UNKNOWN), refused.reason());
    }

    /** Results come while the source of the items takes its time. */
    @Test
    void aSlowSourceDoesNotHoldBackResults() {
        BlockingQueue<Item> queue = new LinkedBlockingQueue<>();
        try (BulkAdd bulk =
                client.bulkAdd(DEFAULT, Stream.generate(() -> take(queue)).iterator())) {
            Iterator<ItemResult> results = bulk.iterator();
            for (int i = 0; i < 200; i++) {
                queue.add(item(i));
                assertEquals("" + i, results.next().getKey());
            }
        }
    }

    /** While the source takes its time an interruption is told at once, and no item is lost. */
    @Test
    void aSlowSourceDoesNotHoldBackAnInterruption() {
        BlockingQueue<Item> queue = new LinkedBlockingQueue<>(items(2));
        service.onItem =
                key -> {
                    if (key.equals("1")) {
                        service.answers.interrupt(Code.UNAVAILABLE, ErrorReason.SERVER_DRAINING);
                    }
                };
        Iterator<Item> slow = Stream.generate(() -> take(queue)).limit(4).iterator();
        BulkInterruptedException interruption = interruptionOf(() -> slow);
        queue.addAll(items(4).subList(2, 4));
        List<Item> rest = new ArrayList<>();
        interruption.rest().forEachRemaining(rest::add);
        assertEquals(items(4), rest);
    }

    /** Closing cancels the stream at the service, ends the sender, and spares the channel. */
    @Test
    void closingCancels() throws InterruptedException {
        service.onItem = key -> {};
        BulkAdd bulk = client.bulkAdd(DEFAULT, items(1000));
        Thread sender = senders().get(0);
        takeItems(1);
        bulk.close();
        bulk.close();
        service.cancelled.await();
        sender.join();
        BulkInterruptedException after =
                assertThrows(BulkInterruptedException.class, () -> bulk.iterator().hasNext());
        assertEquals(Code.CANCELLED, after.code());

        service.onItem = key -> service.answers.add(key);
        assertEquals(5, drain(client.bulkAdd(DEFAULT, items(5))).getAddedCount());
    }

    /** Closing also ends a sender that waits for its source. */
    @Test
    void closingInterruptsTheSource() throws InterruptedException {
        BlockingQueue<Item> never = new LinkedBlockingQueue<>();
        BulkAdd bulk = client.bulkAdd(DEFAULT, Stream.generate(() -> take(never)).iterator());
        Thread sender = senders().get(0);
        bulk.close();
        sender.join();
    }

    /** A thread that is interrupted while it waits for results stops, and stays interrupted. */
    @Test
    void anInterruptedThreadStops() throws Exception {
        service.onItem = key -> {};
        CompletableFuture<Thread> waiting = new CompletableFuture<>();
        CompletableFuture<Boolean> stayed =
                CompletableFuture.supplyAsync(
                        () -> {
                            waiting.complete(Thread.currentThread());
                            assertEquals(Code.CANCELLED, interruptionOf(items(5)).code());
                            return Thread.interrupted();
                        });
        waiting.get().interrupt();
        assertTrue(stayed.get());
    }

    /** Where the source breaks, what was read before is answered, then its failure is thrown. */
    @Test
    void aBrokenSourceLosesNothing() {
        for (Throwable broken :
                List.of(new IllegalStateException("disk"), new AssertionError("bug"))) {
            AtomicInteger read = new AtomicInteger();
            Iterator<Item> source =
                    Stream.generate(
                                    () -> {
                                        if (read.get() == 10) {
                                            throwIt(broken);
                                        }
                                        return item(read.getAndIncrement());
                                    })
                            .iterator();
            List<String> answered = new ArrayList<>();
            try (BulkAdd bulk = client.bulkAdd(DEFAULT, source)) {
                assertSame(
                        broken,
                        assertThrows(
                                broken.getClass(),
                                () -> bulk.forEach(result -> answered.add(result.getKey()))));
                assertEquals(10, bulk.summary().getAddedCount());
            }
            assertEquals(keysOf(items(10)), new HashSet<>(answered));
        }
        List<Item> hole = new ArrayList<>(items(2));
        hole.set(1, null);
        assertThrows(NullPointerException.class, () -> drain(client.bulkAdd(DEFAULT, hole)));
    }

    /** A key that stands twice is answered twice. */
    @Test
    void aKeyTwiceIsAnsweredTwice() {
        List<Item> twice = List.of(item(1), item(1));
        assertEquals(2, drain(client.bulkAdd(DEFAULT, twice)).getAddedCount());
    }

    /** Results can be had as a stream, which cancels when it is closed. */
    @Test
    void resultsAsAStream() throws InterruptedException {
        try (Stream<ItemResult> results = client.bulkAdd(DEFAULT, items(500)).stream()) {
            assertEquals(10, results.limit(10).count());
        }
        service.cancelled.await();
        try (Stream<ItemResult> results = client.bulkAdd(DEFAULT, items(500)).stream()) {
            assertEquals(500, results.count());
        }
    }

    private void answerBackwards(List<String> held) {
        for (int i = held.size() - 1; i >= 0; i--) {
            String key = held.get(i);
            if (key.endsWith("3")) {
                service.answers.fail(key);
            } else {
                service.answers.add(key);
            }
        }
        held.clear();
    }

    private BulkInterruptedException interruptionOf(Iterable<Item> items) {
        return interruptionOf(client, items);
    }

    private static BulkInterruptedException interruptionOf(
            ProductSearchClient client, Iterable<Item> items) {
        return assertThrows(
                BulkInterruptedException.class,
                () -> {
                    try (BulkAdd bulk = client.bulkAdd(DEFAULT, items)) {
                        bulk.forEach(result -> {});
                    }
                });
    }

    private void takeItems(int count) throws InterruptedException {
        for (int i = 0; i < count; i++) {
            BulkAddImagesRequest request = service.received.take();
            assertTrue(request.hasItem());
        }
    }

    private static Summary drain(BulkAdd bulk) {
        try (bulk) {
            bulk.forEach(result -> {});
            return bulk.summary();
        }
    }

    private static List<Thread> senders() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().equals("productsearch-bulk-add"))
                .toList();
    }

    private static Item take(BlockingQueue<Item> queue) {
        try {
            return queue.take();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void throwIt(Throwable unchecked) throws T {
        throw (T) unchecked;
    }

    private static boolean even(Item item) {
        return Integer.parseInt(item.getKey()) % 2 == 0;
    }

    private static Set<String> keysOf(List<Item> items) {
        return new HashSet<>(items.stream().map(Item::getKey).toList());
    }

    private static List<Item> items(int count) {
        return IntStream.range(0, count).mapToObj(BulkAddTest::item).toList();
    }

    private static Item item(int number) {
        ImageSource image = ImageSource.newBuilder().setUrl("http://x/" + number).build();
        return Item.newBuilder().setKey("" + number).setNewImage(newImage(image)).build();
    }

    private static NewImage newImage(ImageSource image) {
        return NewImage.newBuilder().setImage(image).setBrief("a thing").build();
    }

    /** An interceptor with a bug. */
    private record FailingToSend(RuntimeException failure) implements ClientInterceptor {
        @Override
        public <Q, A> ClientCall<Q, A> interceptCall(
                MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
            return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
                @Override
                public void sendMessage(Q message) {
                    throw failure;
                }
            };
        }
    }

    /** Counts the items that were read. */
    private record Counted(Iterator<Item> items, AtomicInteger read) implements Iterator<Item> {
        Counted(Iterator<Item> items) {
            this(items, new AtomicInteger());
        }

        @Override
        public boolean hasNext() {
            return items.hasNext();
        }

        @Override
        public Item next() {
            read.incrementAndGet();
            return items.next();
        }
    }
}
