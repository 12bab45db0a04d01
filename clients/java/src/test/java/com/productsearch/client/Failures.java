package com.productsearch.client;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import com.productsearch.v1.ErrorReason;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Map;

/** Statuses as the service makes them. */
public final class Failures {
    private Failures() {}

    /** A status with an ErrorInfo and further details. */
    public static Status status(
            io.grpc.Status.Code code,
            String reason,
            Map<String, String> metadata,
            Message... details) {
        Status.Builder status =
                Status.newBuilder()
                        .setCode(code.value())
                        .setMessage("what happened")
                        .addDetails(
                                Any.pack(
                                        ErrorInfo.newBuilder()
                                                .setDomain("productsearch.v1")
                                                .setReason(reason)
                                                .putAllMetadata(metadata)
                                                .build()));
        for (Message detail : details) {
            status.addDetails(Any.pack(detail));
        }
        return status.build();
    }

    /** The same with a reason of this version and nothing else. */
    public static Status status(io.grpc.Status.Code code, ErrorReason reason) {
        return status(code, reason.name(), Map.of());
    }

    /** As a server sends it. */
    public static StatusRuntimeException thrown(Status status) {
        return StatusProto.toStatusRuntimeException(status);
    }
}
