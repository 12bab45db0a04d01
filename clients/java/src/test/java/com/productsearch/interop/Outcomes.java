package com.productsearch.interop;

import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.TypeRegistry;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorDetailsProto;
import com.productsearch.client.ProductSearchException;
import java.util.Optional;

/** Turns plans into messages, and what came back into outcomes. */
final class Outcomes {
    private static final JsonFormat.Printer PRINTER =
            JsonFormat.printer()
                    .usingTypeRegistry(
                            TypeRegistry.newBuilder()
                                    .add(ErrorDetailsProto.getDescriptor().getMessageTypes())
                                    .build());

    private Outcomes() {}

    static JsonObject of(String name, Object value) {
        JsonObject outcome = new JsonObject();
        outcome.add(
                name,
                value instanceof Boolean truth
                        ? new JsonPrimitive(truth)
                        : new JsonPrimitive(value.toString()));
        return outcome;
    }

    static <B extends Message.Builder> B parse(JsonElement json, B into) {
        try {
            JsonFormat.parser().merge(json.toString(), into);
            return into;
        } catch (InvalidProtocolBufferException e) {
            throw new IllegalArgumentException(e);
        }
    }

    static JsonElement json(Message message) {
        try {
            return JsonParser.parseString(PRINTER.print(message));
        } catch (InvalidProtocolBufferException e) {
            throw new IllegalArgumentException(e);
        }
    }

    static JsonObject answered(Message response) {
        return outcome("OK", json(response), null);
    }

    static JsonObject failed(ProductSearchException error) {
        return outcome(error.code().name(), JsonNull.INSTANCE, error);
    }

    /** The name of the error's reason or null. */
    static JsonElement reason(ProductSearchException error) {
        return text(error.reason().map(Enum::name));
    }

    private static JsonObject outcome(
            String code, JsonElement response, ProductSearchException error) {
        JsonObject outcome = of("code", code);
        JsonObject violations = new JsonObject();
        outcome.add("response", response);
        for (String detail :
                new String[] {
                    "message", "reason", "retry_delay_s", "upstream_code", "log_id", "cont_sign"
                }) {
            outcome.add(detail, JsonNull.INSTANCE);
        }
        outcome.add("field_violations", violations);
        if (error == null) {
            return outcome;
        }
        outcome.addProperty("message", error.description());
        outcome.add("reason", reason(error));
        error.retryDelay()
                .ifPresent(delay -> outcome.addProperty("retry_delay_s", delay.toNanos() / 1e9));
        error.upstreamCode().ifPresent(number -> outcome.addProperty("upstream_code", number));
        error.logId()
                .ifPresent(id -> outcome.addProperty("log_id", Long.toUnsignedString(id)));
        outcome.add("cont_sign", text(error.contSign()));
        error.fieldViolations().forEach(violations::addProperty);
        return outcome;
    }

    private static JsonElement text(Optional<String> text) {
        return text.<JsonElement>map(JsonPrimitive::new).orElse(JsonNull.INSTANCE);
    }
}
