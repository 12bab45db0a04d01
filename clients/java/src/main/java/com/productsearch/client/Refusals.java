package com.productsearch.client;

import com.google.protobuf.Any;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor.JavaType;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.ImageSource;
import java.util.Map;
import java.util.Optional;

/**
 * Refuses an image that is larger than the service reads, before it is sent: gRPC's own error of
 * such a message names no field, and ends a whole bulk stream.
 */
final class Refusals {
    /** The largest image that the service takes, with {@code fit}. */
    static final int IMAGE_BYTES_MAX = 20 * 1024 * 1024;

    private Refusals() {}

    /** The status with which the service would refuse an image of this message. */
    static Optional<Status> of(Message message) {
        return of(message, "");
    }

    private static Optional<Status> of(Message message, String above) {
        if (message instanceof ImageSource image) {
            int size = image.getContent().size();
            return size > IMAGE_BYTES_MAX
                    ? Optional.of(tooLarge(above + "content", size))
                    : Optional.empty();
        }
        return message.getAllFields().entrySet().stream()
                .filter(entry -> isMessage(entry.getKey()))
                .flatMap(entry -> ofField(entry, above).stream())
                .findFirst();
    }

    private static Optional<Status> ofField(Map.Entry<FieldDescriptor, Object> entry, String above) {
        return of((Message) entry.getValue(), above + entry.getKey().getName() + ".");
    }

    private static boolean isMessage(FieldDescriptor field) {
        return field.getJavaType() == JavaType.MESSAGE && !field.isRepeated();
    }

    private static Status tooLarge(String field, int size) {
        String description =
                size
                        + " bytes; at most "
                        + IMAGE_BYTES_MAX
                        + " (20 MiB) with fit, about 2.9 MB without: scale it down";
        BadRequest.FieldViolation wrong =
                BadRequest.FieldViolation.newBuilder()
                        .setField(field)
                        .setDescription(description)
                        .build();
        return Status.newBuilder()
                .setCode(io.grpc.Status.Code.INVALID_ARGUMENT.value())
                .setMessage(field + ": " + description)
                .addDetails(
                        Any.pack(
                                ErrorInfo.newBuilder()
                                        .setDomain(ProductSearchException.DOMAIN)
                                        .setReason(ErrorReason.IMAGE_SIZE_INVALID.name())
                                        .build()))
                .addDetails(Any.pack(BadRequest.newBuilder().addFieldViolations(wrong).build()))
                .build();
    }
}
