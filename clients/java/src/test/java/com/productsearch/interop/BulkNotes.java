package com.productsearch.interop;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.productsearch.client.ProductSearchException;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What came of the items of a bulk case. */
final class BulkNotes {
    private final Map<String, Integer> positions = new HashMap<>();
    private final Map<String, Integer> answers = new HashMap<>();
    private final Map<String, JsonObject> results = new HashMap<>();
    private int furthest = -1;
    private boolean outOfOrder;

    BulkNotes(List<Item> items) {
        for (int position = 0; position < items.size(); position++) {
            positions.put(items.get(position).getKey(), position);
        }
    }

    void note(ItemResult result) {
        int position = positions.getOrDefault(result.getKey(), -1);
        outOfOrder |= position < furthest;
        furthest = Math.max(furthest, position);
        answers.merge(result.getKey(), 1, Integer::sum);
        results.put(
                result.getKey(),
                result.hasAdded()
                        ? Outcomes.answered(result.getAdded())
                        : Outcomes.failed(ProductSearchException.from(result.getError())));
    }

    int answered() {
        return results.size();
    }

    long failed() {
        return results.values().stream()
                .filter(result -> !result.get("code").getAsString().equals("OK"))
                .count();
    }

    JsonObject outcome(Summary summary) {
        JsonObject outcome = Outcomes.of("code", "OK");
        JsonObject byKey = new JsonObject();
        results.forEach(byKey::add);
        outcome.add("results", byKey);
        outcome.addProperty(
                "answers_max", answers.isEmpty() ? 0 : Collections.max(answers.values()));
        outcome.addProperty("out_of_order", outOfOrder);
        JsonElement counts = Outcomes.json(summary);
        outcome.add("summary", counts);
        return outcome;
    }
}
