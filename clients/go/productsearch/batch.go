package productsearch

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// batchSignsMax is how many signatures the service takes in one BatchDeleteImages.
const batchSignsMax = 10_000

// BatchDelete is BatchDeleteImages for any number of signatures: it makes a call for each 10,000
// and returns the results of all, in the order of the request.
//
// It fails only if the first call does. If a later one fails, it stops, and that error stands
// in the result of each signature that was not dealt with. In the error of a malformed signature
// the index in cont_signs[i] counts within its call.
func (c *Client) BatchDelete(
	ctx context.Context, request *productsearchv1.BatchDeleteImagesRequest,
) (*productsearchv1.BatchDeleteImagesResponse, error) {
	whole := &productsearchv1.BatchDeleteImagesResponse{}
	signs := request.GetContSigns()
	for first := true; first || len(signs) > 0; first = false {
		size := min(len(signs), batchSignsMax)
		response, err := c.BatchDeleteImages(ctx, &productsearchv1.BatchDeleteImagesRequest{
			Library:      request.GetLibrary(),
			ContSigns:    signs[:size],
			AllowMissing: request.GetAllowMissing(),
		})
		if err != nil && first {
			return nil, err
		}
		if err != nil {
			addFailed(whole, signs, err)
			return whole, nil
		}
		whole.Results = append(whole.Results, response.GetResults()...)
		whole.FailedCount += response.GetFailedCount()
		signs = signs[size:]
	}
	return whole, nil
}

// addFailed adds a result with the error for each signature.
func addFailed(to *productsearchv1.BatchDeleteImagesResponse, signs []string, err error) {
	var failed *Error
	if !errors.As(err, &failed) {
		failed = &Error{Code: codes.Unknown, Message: err.Error()}
	}
	status := failed.GRPCStatus().Proto()
	for _, sign := range signs {
		to.Results = append(to.Results, &productsearchv1.BatchDeleteImagesResponse_Result{
			ContSign: sign,
			Error:    proto.CloneOf(status),
		})
	}
	to.FailedCount += int32(len(signs))
}
