package com.productsearch.examples;

import com.productsearch.client.BearerToken;
import com.productsearch.client.ProductSearchChannelBuilder;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.ImageRef;
import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Deletes an image over mutual TLS: {@code Secure HOST:PORT CA.PEM CERTIFICATE.PEM KEY.PEM
 * CONT_SIGN}, with the caller's token in PRODUCTSEARCH_TOKEN.
 */
public final class Secure {
    private Secure() {}

    public static void main(String[] arguments) {
        ManagedChannel channel =
                ProductSearchChannelBuilder.forTarget(arguments[0])
                        .trust(Path.of(arguments[1]))
                        .identity(Path.of(arguments[2]), Path.of(arguments[3]))
                        .build();
        try (ProductSearchClient client = new ProductSearchClient(channel)) {
            ProductSearchClient named =
                    client.withCallCredentials(
                            new BearerToken(() -> System.getenv("PRODUCTSEARCH_TOKEN")));
            ImageRef image = ImageRef.newBuilder().setContSign(arguments[4]).build();
            DeleteImageRequest request = DeleteImageRequest.newBuilder().setImageRef(image).build();
            named.withTimeout(Duration.ofSeconds(5)).deleteImage(request);
            System.out.println("deleted");
        }
    }
}
