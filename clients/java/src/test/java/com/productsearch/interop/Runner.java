package com.productsearch.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.protobuf.Message;
import com.productsearch.client.BulkAdd;
import com.productsearch.client.BulkInterruptedException;
import com.productsearch.client.ProductSearchChannelBuilder;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.client.ProductSearchException;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.DuplicatePolicy;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.UpdateImageRequest;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Runs one case after another; one client for each target. */
final class Runner implements AutoCloseable {
    private final JsonObject plan;
    private final Map<String, ProductSearchClient> clients = new ConcurrentHashMap<>();

    Runner(JsonObject plan) {
        this.plan = plan;
    }

    /** The case's part of the report. */
    JsonObject report(JsonObject planned) {
        JsonObject report = new JsonObject();
        report.add("name", planned.get("name"));
        report.add("outcome", outcome(planned));
        return report;
    }

    @Override
    public void close() {
        clients.values().forEach(ProductSearchClient::close);
    }

    private JsonObject outcome(JsonObject planned) {
        try {
            return switch (planned.get("kind").getAsString()) {
                case "unary" -> unary(planned);
                case "pages" -> pages(planned);
                case "bulk" -> bulk(planned);
                case "bulk_cancel" -> bulkCancel(planned);
                case "bulk_drain" -> bulkDrain(planned);
                case "keepalive" -> keepalive(planned);
                default -> Outcomes.of("unsupported", true);
            };
        } catch (Exception e) {
            StringWriter trace = new StringWriter();
            e.printStackTrace(new PrintWriter(trace));
            return Outcomes.of("crashed", trace.toString());
        }
    }

    private JsonObject unary(JsonObject planned) {
        try {
            return Outcomes.answered(call(client(planned), planned));
        } catch (ProductSearchException e) {
            return Outcomes.failed(e);
        }
    }

    private static Message call(ProductSearchClient client, JsonObject planned) {
        JsonElement request = planned.get("request");
        String method = planned.get("method").getAsString();
        return switch (method) {
            case "AddImage" ->
                    client.addImage(Outcomes.parse(request, AddImageRequest.newBuilder()).build());
            case "SearchImages" ->
                    client.searchImages(
                            Outcomes.parse(request, SearchImagesRequest.newBuilder()).build());
            case "UpdateImage" ->
                    client.updateImage(
                            Outcomes.parse(request, UpdateImageRequest.newBuilder()).build());
            case "DeleteImage" ->
                    client.deleteImage(
                            Outcomes.parse(request, DeleteImageRequest.newBuilder()).build());
            case "BatchDeleteImages" ->
                    client.batchDeleteImages(
                            Outcomes.parse(request, BatchDeleteImagesRequest.newBuilder()).build());
            default -> throw new IllegalArgumentException("method: " + method);
        };
    }

    private JsonObject pages(JsonObject planned) {
        SearchImagesRequest request =
                Outcomes.parse(planned.get("request"), SearchImagesRequest.newBuilder()).build();
        JsonArray signs = new JsonArray();
        try {
            client(planned).searchAll(request).forEach(found -> signs.add(found.getContSign()));
        } catch (ProductSearchException e) {
            return Outcomes.failed(e);
        }
        JsonObject outcome = Outcomes.of("code", "OK");
        outcome.add("signs", signs);
        return outcome;
    }

    private JsonObject bulk(JsonObject planned) {
        BulkNotes notes = new BulkNotes(items(planned));
        try (BulkAdd bulk = client(planned).bulkAdd(settings(planned), items(planned))) {
            bulk.forEach(notes::note);
            return notes.outcome(bulk.summary());
        } catch (ProductSearchException e) {
            return Outcomes.failed(e);
        }
    }

    private JsonObject bulkCancel(JsonObject planned) {
        List<Item> items = items(planned);
        AtomicLong round = new AtomicLong();
        Iterator<Item> endless =
                Stream.generate(round::getAndIncrement)
                        .flatMap(number -> items.stream().map(item -> renamed(item, number)))
                        .iterator();
        int after = planned.get("after").getAsInt();
        BulkAdd bulk = client(planned).bulkAdd(settings(planned), endless);
        Iterator<ItemResult> results = bulk.iterator();
        IntStream.range(0, after).forEach(i -> results.next());
        bulk.close();
        JsonObject outcome = new JsonObject();
        try {
            results.forEachRemaining(result -> {});
            outcome.addProperty("code", "OK");
        } catch (BulkInterruptedException e) {
            outcome.addProperty("code", e.code().name());
        }
        outcome.addProperty("enough", true);
        outcome.add("after_cancel", unary(planned.getAsJsonObject("then")));
        return outcome;
    }

    private static Item renamed(Item item, long number) {
        return item.toBuilder().setKey(item.getKey() + number).build();
    }

    private JsonObject bulkDrain(JsonObject planned) throws IOException, InterruptedException {
        BulkNotes notes = new BulkNotes(items(planned));
        int after = planned.get("after").getAsInt();
        BulkInterruptedException interruption = null;
        try (BulkAdd bulk = client(planned).bulkAdd(settings(planned), items(planned))) {
            int count = 0;
            for (ItemResult result : bulk) {
                notes.note(result);
                if (++count == after) {
                    drain(planned.get("target").getAsString());
                }
            }
        } catch (BulkInterruptedException e) {
            interruption = e;
        }
        List<Item> rest = new ArrayList<>();
        if (interruption != null) {
            interruption.rest().forEachRemaining(rest::add);
        }
        Settings keep =
                settings(planned).toBuilder()
                        .setDuplicatePolicy(DuplicatePolicy.DUPLICATE_POLICY_KEEP)
                        .build();
        try (BulkAdd bulk = client(planned.get("then_target").getAsString()).bulkAdd(keep, rest)) {
            bulk.forEach(notes::note);
        }
        JsonObject outcome = Outcomes.of("interrupted", interruption != null);
        outcome.add(
                "reason",
                interruption == null ? JsonNull.INSTANCE : Outcomes.reason(interruption));
        outcome.addProperty("resent", rest.size());
        outcome.addProperty("answered", notes.answered());
        outcome.addProperty("failed", notes.failed());
        return outcome;
    }

    private void drain(String target) throws IOException, InterruptedException {
        URI uri = URI.create(plan.get("control").getAsString() + "/drain/" + target);
        HttpRequest request =
                HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.noBody()).build();
        int status =
                HttpClient.newHttpClient()
                        .send(request, HttpResponse.BodyHandlers.discarding())
                        .statusCode();
        if (status >= 300) {
            throw new IOException(uri + " answered " + status);
        }
    }

    private JsonObject keepalive(JsonObject planned) throws InterruptedException {
        Duration interval = Duration.ofSeconds(planned.get("interval_s").getAsLong());
        ManagedChannel channel =
                channel(planned.get("target").getAsString())
                        .keepAlive(interval, Duration.ofSeconds(10))
                        .keepAliveWithoutCalls(true)
                        .build();
        AtomicBoolean disconnected = new AtomicBoolean();
        JsonObject outcome = new JsonObject();
        try (ProductSearchClient client = new ProductSearchClient(channel)) {
            outcome.addProperty("first", code(client, planned));
            channel.notifyWhenStateChanged(ConnectivityState.READY, () -> disconnected.set(true));
            Thread.sleep(Duration.ofSeconds(planned.get("seconds").getAsLong()).toMillis());
            outcome.addProperty("disconnected", disconnected.get());
            outcome.addProperty("last", code(client, planned));
        }
        return outcome;
    }

    private static String code(ProductSearchClient client, JsonObject planned) {
        try {
            call(client, planned);
            return "OK";
        } catch (ProductSearchException e) {
            return e.code().name();
        }
    }

    private ProductSearchClient client(JsonObject planned) {
        ProductSearchClient client = client(planned.get("target").getAsString());
        if (!planned.has("timeout_s")) {
            return client;
        }
        double seconds = planned.get("timeout_s").getAsDouble();
        return client.withTimeout(Duration.ofNanos((long) (seconds * 1e9)));
    }

    private ProductSearchClient client(String target) {
        return clients.computeIfAbsent(
                target, name -> new ProductSearchClient(channel(name).build()));
    }

    private ProductSearchChannelBuilder channel(String name) {
        JsonObject target = plan.getAsJsonObject("targets").getAsJsonObject(name);
        ProductSearchChannelBuilder channel =
                ProductSearchChannelBuilder.forTarget(target.get("address").getAsString());
        if (target.has("ca")) {
            channel.trust(Path.of(target.get("ca").getAsString()));
        }
        if (target.has("certificate")) {
            channel.identity(
                    Path.of(target.get("certificate").getAsString()),
                    Path.of(target.get("key").getAsString()));
        }
        return channel;
    }

    private static Settings settings(JsonObject planned) {
        return Outcomes.parse(planned.get("settings"), Settings.newBuilder()).build();
    }

    private static List<Item> items(JsonObject planned) {
        List<Item> items = new ArrayList<>();
        for (JsonElement item : planned.getAsJsonArray("items")) {
            items.add(Outcomes.parse(item, Item.newBuilder()).build());
        }
        return items;
    }
}
