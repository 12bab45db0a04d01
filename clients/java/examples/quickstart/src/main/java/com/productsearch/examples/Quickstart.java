package com.productsearch.examples;

import com.productsearch.client.Images;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.client.ProductSearchException;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchResult;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Adds an image, finds it again, and reads what an error says: {@code Quickstart HOST:PORT
 * IMAGE}.
 */
public final class Quickstart {
    private Quickstart() {}

    public static void main(String[] arguments) throws IOException {
        ImageSource image = Images.fit(Images.fromFile(Path.of(arguments[1])));
        try (ProductSearchClient client = ProductSearchClient.connect(arguments[0])) {
            add(client, image);
            SearchImagesRequest request =
                    SearchImagesRequest.newBuilder().setImage(image).setPageSize(5).build();
            for (SearchResult hit : client.searchImages(request).getResultsList()) {
                System.out.printf("%.3f %s%n", hit.getScore(), hit.getBrief());
            }
        }
    }

    private static void add(ProductSearchClient client, ImageSource image) {
        NewImage apple = NewImage.newBuilder().setImage(image).setBrief("a red apple").build();
        try {
            AddImageRequest request = AddImageRequest.newBuilder().setNewImage(apple).build();
            System.out.println("added " + client.addImage(request).getContSign());
        } catch (ProductSearchException e) {
            if (e.reason().orElse(null) != ErrorReason.IMAGE_ALREADY_EXISTS) {
                throw e;
            }
            System.out.println("already there as " + e.contSign().orElseThrow());
        }
    }
}
