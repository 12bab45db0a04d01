package com.productsearch.examples;

import com.productsearch.client.Images;
import com.productsearch.client.ProductSearchChannelBuilder;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.ImageRef;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Deletes an image over mutual TLS: {@code Secure HOST:PORT CA.PEM CERTIFICATE.PEM KEY.PEM
 * CONT_SIGN}, with the caller's token in PRODUCTSEARCH_TOKEN.
 */
public final class Secure {
    private Secure() {}

    public static void main(String[] arguments) {
        try (ProductSearchClient client =
                ProductSearchChannelBuilder.forTarget(arguments[0])
                        .trust(Path.of(arguments[1]))
                        .identity(Path.of(arguments[2]), Path.of(arguments[3]))
                        .token(() -> System.getenv("PRODUCTSEARCH_TOKEN"))
                        .connect()) {
            ImageRef image = Images.refBySign(arguments[4]);
            DeleteImageRequest request = DeleteImageRequest.newBuilder().setImageRef(image).build();
            client.withTimeout(Duration.ofSeconds(5)).deleteImage(request);
            System.out.println("deleted");
        }
    }
}
