package com.productsearch.client;

import com.google.rpc.Status;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BatchDeleteImagesResponse;
import com.productsearch.v1.BatchDeleteImagesResponse.Result;
import java.util.List;
import java.util.function.Function;

/** Splits a batch delete into calls that the service takes. */
final class Batches {
    /** Signatures in one call. */
    static final int SIGNS_MAX = 10_000;

    private Batches() {}

    static BatchDeleteImagesResponse delete(
            BatchDeleteImagesRequest request,
            Function<BatchDeleteImagesRequest, BatchDeleteImagesResponse> call) {
        List<String> signs = request.getContSignsList();
        BatchDeleteImagesResponse.Builder whole = BatchDeleteImagesResponse.newBuilder();
        int done = 0;
        do {
            int end = Math.min(signs.size(), done + SIGNS_MAX);
            BatchDeleteImagesRequest part =
                    request.toBuilder()
                            .clearContSigns()
                            .addAllContSigns(signs.subList(done, end))
                            .build();
            try {
                BatchDeleteImagesResponse response = call.apply(part);
                whole.addAllResults(response.getResultsList());
                whole.setFailedCount(whole.getFailedCount() + response.getFailedCount());
            } catch (ProductSearchException e) {
                if (done == 0) {
                    throw e;
                }
                return failed(whole, signs.subList(done, signs.size()), e.status());
            }
            done = end;
        } while (done < signs.size());
        return whole.build();
    }

    private static BatchDeleteImagesResponse failed(
            BatchDeleteImagesResponse.Builder whole, List<String> signs, Status error) {
        for (String sign : signs) {
            whole.addResults(Result.newBuilder().setContSign(sign).setError(error));
        }
        return whole.setFailedCount(whole.getFailedCount() + signs.size()).build();
    }
}
