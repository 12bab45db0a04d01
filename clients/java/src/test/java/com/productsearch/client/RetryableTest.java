package com.productsearch.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.util.Durations;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import com.productsearch.v1.AddImageRequest;
import io.grpc.Status.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class RetryableTest {
    private static final Path CASES = Path.of("../../tests/interop/retryable.json");

    /** The truth table of all clients. */
    @Test
    void theTruthTable() throws IOException {
        List<JsonElement> cases =
                JsonParser.parseString(Files.readString(CASES)).getAsJsonArray().asList();
        assertFalse(cases.isEmpty());
        for (JsonElement element : cases) {
            JsonObject error = element.getAsJsonObject();
            assertEquals(
                    error.get("retryable").getAsBoolean(),
                    ProductSearchException.from(status(error)).isRetryable(),
                    error.get("error").getAsString());
        }
    }

    /** Its error names no delay. */
    @Test
    void aRefusedConnectionIsRetryable() {
        try (ProductSearchClient client = ProductSearchClient.connect("127.0.0.1:1")) {
            ProductSearchException error =
                    assertThrows(
                            ProductSearchException.class,
                            () -> client.addImage(AddImageRequest.getDefaultInstance()));
            assertTrue(error.retryDelay().isEmpty());
            assertTrue(error.isRetryable());
        }
    }

    private static Status status(JsonObject error) {
        Status.Builder made =
                Status.newBuilder().setCode(Code.valueOf(error.get("code").getAsString()).value());
        if (!error.get("reason").isJsonNull()) {
            made.addDetails(
                    Any.pack(
                            ErrorInfo.newBuilder()
                                    .setDomain("productsearch.v1")
                                    .setReason(error.get("reason").getAsString())
                                    .build()));
        }
        if (!error.get("delay_s").isJsonNull()) {
            long delay = (long) (error.get("delay_s").getAsDouble() * 1000);
            made.addDetails(
                    Any.pack(
                            RetryInfo.newBuilder()
                                    .setRetryDelay(Durations.fromMillis(delay))
                                    .build()));
        }
        return made.build();
    }
}
