package com.productsearch.client;

import com.google.protobuf.Message;
import com.google.rpc.Status;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;

/**
 * Ends a call of the generated stubs whose message {@link Refusals} refuses, with the status that
 * the service would give. Nothing of the message is sent.
 */
final class RefusalInterceptor implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
            MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        return new RefusingCall<>(next.newCall(method, options));
    }

    private static final class RefusingCall<Q, A> extends SimpleForwardingClientCall<Q, A> {
        /** Why this call was ended; read by the thread that closes it. */
        private volatile Status refusal;

        RefusingCall(ClientCall<Q, A> call) {
            super(call);
        }

        @Override
        public void start(Listener<A> listener, Metadata headers) {
            super.start(
                    new SimpleForwardingClientCallListener<A>(listener) {
                        @Override
                        public void onClose(io.grpc.Status status, Metadata trailers) {
                            Status told = refusal;
                            if (told == null) {
                                super.onClose(status, trailers);
                            } else {
                                super.onClose(
                                        io.grpc.Status.fromCodeValue(told.getCode())
                                                .withDescription(told.getMessage()),
                                        ProductSearchException.trailersOf(told));
                            }
                        }
                    },
                    headers);
        }

        @Override
        public void sendMessage(Q message) {
            if (refusal != null) {
                return; // the call has ended
            }
            refusal = message instanceof Message sent ? Refusals.of(sent).orElse(null) : null;
            if (refusal == null) {
                super.sendMessage(message);
            } else {
                cancel("the message is refused", null);
            }
        }

        @Override
        public void halfClose() {
            if (refusal == null) {
                super.halfClose();
            }
        }
    }
}
