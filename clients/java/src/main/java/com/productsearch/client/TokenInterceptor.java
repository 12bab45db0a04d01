package com.productsearch.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;

/** Gives the token to the calls of a channel that have no credentials of their own. */
final class TokenInterceptor implements ClientInterceptor {
    private final BearerToken token;

    TokenInterceptor(BearerToken token) {
        this.token = token;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
            MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        CallOptions named =
                options.getCredentials() == null ? options.withCallCredentials(token) : options;
        return next.newCall(method, named);
    }
}
