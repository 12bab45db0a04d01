package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import com.productsearch.v1.ImageRef;
import com.productsearch.v1.ImageSource;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImagesTest {
    /** They make what one would write by hand. */
    @Test
    void makesMessages(@TempDir Path folder) throws Exception {
        byte[] content = {1, 2, 3};
        ImageSource image =
                ImageSource.newBuilder().setContent(ByteString.copyFrom(content)).build();
        Path file = Files.write(folder.resolve("image.jpg"), content);
        assertEquals(image, Images.fromFile(file));
        assertEquals(image, Images.fromBytes(content));
        assertEquals(image.toBuilder().setFit(true).build(), Images.fit(image));
        assertEquals(
                ImageSource.newBuilder().setUrl("https://a/b").build(),
                Images.fromUrl("https://a/b"));
        assertEquals(
                ImageRef.newBuilder().setContSign("1,2").build(), Images.refBySign("1,2"));
        assertEquals(
                ImageRef.newBuilder().setImage(image).build(), Images.refByImage(image));
        assertThrows(
                NoSuchFileException.class, () -> Images.fromFile(folder.resolve("missing.jpg")));
    }
}
