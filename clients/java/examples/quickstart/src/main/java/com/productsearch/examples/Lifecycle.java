package com.productsearch.examples;

import com.productsearch.client.Images;
import com.productsearch.client.ProductSearchClient;
import com.productsearch.client.ProductSearchException;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BatchDeleteImagesResponse;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.DuplicatePolicy;
import com.productsearch.v1.ImageRef;
import com.productsearch.v1.ImageSource;
import com.productsearch.v1.NewImage;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchResult;
import com.productsearch.v1.UpdateImageRequest;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** Adds an image, finds it, changes what is stored beside it, deletes it: {@code HOST:PORT IMAGE}. */
public final class Lifecycle {
    private Lifecycle() {}

    public static void main(String[] arguments) throws IOException {
        try (ProductSearchClient client = ProductSearchClient.connect(arguments[0])) {
            ImageSource image = Images.fit(Images.fromFile(Path.of(arguments[1])));

            AddImageRequest add =
                    AddImageRequest.newBuilder()
                            .setNewImage(
                                    NewImage.newBuilder()
                                            .setImage(image)
                                            .setBrief("a red apple")
                                            .setClassId1(7))
                            .setDuplicatePolicy(DuplicatePolicy.DUPLICATE_POLICY_KEEP)
                            .build();
            AddImageResponse added = client.addImage(add);
            System.out.println("stored as " + added.getContSign());

            SearchImagesRequest search =
                    SearchImagesRequest.newBuilder().setImage(image).setPageSize(5).build();
            for (SearchResult hit : client.searchImages(search).getResultsList()) {
                System.out.printf("%.3f %s%n", hit.getScore(), hit.getBrief());
            }

            changeAndDelete(client, added.getContSign());
            deleteMany(client, List.of(added.getContSign(), "9,9"));
        }
    }

    private static void changeAndDelete(ProductSearchClient client, String contSign) {
        ImageRef image = Images.refBySign(contSign);
        client.updateImage(
                UpdateImageRequest.newBuilder()
                        .setImageRef(image)
                        .setBrief("a ripe apple")
                        .setClassId1(8)
                        .build());
        client.deleteImage(DeleteImageRequest.newBuilder().setImageRef(image).build());
    }

    private static void deleteMany(ProductSearchClient client, List<String> contSigns) {
        BatchDeleteImagesResponse response =
                client.batchDelete(
                        BatchDeleteImagesRequest.newBuilder().addAllContSigns(contSigns).build());
        for (BatchDeleteImagesResponse.Result result : response.getResultsList()) {
            if (result.hasError()) {
                var error = ProductSearchException.from(result.getError());
                System.out.println(result.getContSign() + ": " + error.getMessage());
            }
        }
    }
}
