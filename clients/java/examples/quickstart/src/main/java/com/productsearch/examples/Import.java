package com.productsearch.examples;

import com.productsearch.client.BulkAdd;
import com.productsearch.client.BulkInterruptedException;
import com.productsearch.client.Images;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.client.ProductSearchException;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesRequest.Settings;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.DuplicatePolicy;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/** Stores all images of a folder: {@code Import HOST:PORT FOLDER}. */
public final class Import {
    private Import() {}

    public static void main(String[] arguments) throws IOException {
        try (ProductSearchClient client = ProductSearchClient.connect(arguments[0]);
                Stream<Path> files = Files.list(Path.of(arguments[1]))) {
            store(client, files.sorted().map(Import::item).iterator());
        }
    }

    /** Sends the items again that an interrupted stream left unanswered; three streams at most. */
    private static void store(ProductSearchClient client, Iterator<Item> items) {
        Settings settings =
                Settings.newBuilder()
                        .setDuplicatePolicy(DuplicatePolicy.DUPLICATE_POLICY_KEEP)
                        .build();
        for (int attempt = 1; ; attempt++) {
            try (BulkAdd bulk = client.bulkAdd(settings, items)) {
                for (ItemResult result : bulk) {
                    if (result.hasError()) {
                        var error = ProductSearchException.from(result.getError());
                        System.out.println(result.getKey() + ": " + error.getMessage());
                    }
                }
                System.out.println(bulk.summary().getAddedCount() + " added");
                return;
            } catch (BulkInterruptedException e) {
                if (!e.isRetryable() || attempt == 3) {
                    throw e;
                }
                items = e.rest();
                pause(e.retryDelay().orElse(Duration.ofSeconds(attempt)));
            }
        }
    }

    private static void pause(Duration wait) {
        LockSupport.parkNanos(wait.toNanos());
    }

    private static Item item(Path file) {
        try {
            ImageSource image = Images.fit(Images.fromFile(file));
            String name = file.getFileName().toString();
            return Item.newBuilder()
                    .setKey(name)
                    .setNewImage(NewImage.newBuilder().setImage(image).setBrief(name))
                    .build();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
