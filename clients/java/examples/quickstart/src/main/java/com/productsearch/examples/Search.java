package com.productsearch.examples;

import com.productsearch.client.Images;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchResult;
import java.io.IOException;
import java.nio.file.Path;

/** Finds all stored images that are like one: {@code Search HOST:PORT IMAGE}. */
public final class Search {
    private Search() {}

    public static void main(String[] arguments) throws IOException {
        try (ProductSearchClient client = ProductSearchClient.connect(arguments[0])) {
            ImageSource image = Images.fit(Images.fromFile(Path.of(arguments[1])));
            SearchImagesRequest request =
                    SearchImagesRequest.newBuilder().setImage(image).setMinScore(0.5).build();
            for (SearchResult hit : client.searchAll(request)) {
                System.out.printf("%.3f %s%n", hit.getScore(), hit.getBrief());
            }
        }
    }
}
