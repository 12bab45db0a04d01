package com.productsearch.interop;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * The Java runner of the interop matrix: {@code Main PLAN REPORT}. Its contract is
 * tests/interop/README.md.
 */
public final class Main {
    private static final Gson WITH_NULLS = new GsonBuilder().serializeNulls().create();

    private Main() {}

    /** Runs the cases of the plan and writes what came back. */
    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 2) {
            System.err.println("usage: Main PLAN REPORT");
            System.exit(2);
        }
        JsonObject plan =
                JsonParser.parseString(Files.readString(Path.of(arguments[0]))).getAsJsonObject();
        JsonObject report = new JsonObject();
        report.add("language", plan.get("language"));
        report.add("cases", run(plan));
        Files.writeString(Path.of(arguments[1]), WITH_NULLS.toJson(report));
    }

    private static JsonArray run(JsonObject plan) {
        try (Runner runner = new Runner(plan)) {
            JsonArray reports = new JsonArray();
            List<CompletableFuture<JsonObject>> waiting = new ArrayList<>();
            for (JsonElement element : plan.getAsJsonArray("cases")) {
                JsonObject planned = element.getAsJsonObject();
                if (planned.get("kind").getAsString().equals("keepalive")) {
                    waiting.add(CompletableFuture.supplyAsync(() -> runner.report(planned)));
                } else {
                    reports.add(runner.report(planned));
                }
            }
            waiting.forEach(report -> reports.add(report.join()));
            return reports;
        }
    }
}
