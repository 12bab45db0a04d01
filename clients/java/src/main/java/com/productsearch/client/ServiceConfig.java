package com.productsearch.client;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Reads the service config of the protos: default deadlines, and which calls are retried. */
final class ServiceConfig {
    private static final String RESOURCE = "product_search_grpc_service_config.json";

    private ServiceConfig() {}

    /** Returns the config as grpc-java takes it: maps, lists, strings and doubles. */
    static Map<String, ?> read() {
        try (Reader json =
                new InputStreamReader(
                        ServiceConfig.class.getResourceAsStream(RESOURCE),
                        StandardCharsets.UTF_8)) {
            return new Gson().fromJson(json, new TypeToken<Map<String, Object>>() {});
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
