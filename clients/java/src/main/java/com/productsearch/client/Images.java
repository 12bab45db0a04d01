package com.productsearch.client;

import com.google.protobuf.ByteString;
import com.productsearch.v1.ImageRef;
import com.productsearch.v1.ImageSource;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Makes the messages that name an image: from a file, bytes or an address, and by signature. */
public final class Images {
    private Images() {}

    /** The image of a file, read now. */
    public static ImageSource fromFile(Path file) throws IOException {
        return fromBytes(Files.readAllBytes(file));
    }

    /** An image of the bytes of an image file. */
    public static ImageSource fromBytes(byte[] content) {
        return ImageSource.newBuilder().setContent(ByteString.copyFrom(content)).build();
    }

    /** The image behind an http or https address; the upstream downloads it. */
    public static ImageSource fromUrl(String url) {
        return ImageSource.newBuilder().setUrl(url).build();
    }

    /**
     * The image, which the service may bring inside the upstream's limits: upright, scaled,
     * transcoded, compressed. See {@code ImageSource.fit}.
     */
    public static ImageSource fit(ImageSource image) {
        return image.toBuilder().setFit(true).build();
    }

    /** The reference of a stored image by its signature, such as {@code 12345,67890}. */
    public static ImageRef refBySign(String contSign) {
        return ImageRef.newBuilder().setContSign(contSign).build();
    }

    /** The reference of a stored image by the very image that was added. */
    public static ImageRef refByImage(ImageSource image) {
        return ImageRef.newBuilder().setImage(image).build();
    }
}
