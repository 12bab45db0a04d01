package productsearch

import (
	"context"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// SearchAll yields all results of a search, best first, and asks for the next page only when
// the loop gets there. page_size is the size of one page. The service gives the first 1000 results
// at most. An error is yielded once and ends the loop.
func (c *Client) SearchAll(
	ctx context.Context, request *productsearchv1.SearchImagesRequest,
) iter.Seq2[*productsearchv1.SearchResult, error] {
	return func(yield func(*productsearchv1.SearchResult, error) bool) {
		page := shallowCopy(request)
		for {
			response, err := c.SearchImages(ctx, page)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, result := range response.GetResults() {
				if !yield(result, nil) {
					return
				}
			}
			next := response.GetNextPageToken()
			if next == "" {
				return
			}
			if next == page.GetPageToken() {
				yield(nil, &Error{
					Code:    codes.Internal,
					Message: "the service named the same page as the next one",
				})
				return
			}
			page.PageToken = next
			// skip counts from the token, and the first page has applied it.
			page.Skip = 0
		}
	}
}

// shallowCopy returns a message of its own that shares the image with the caller's.
func shallowCopy(request *productsearchv1.SearchImagesRequest) *productsearchv1.SearchImagesRequest {
	page := &productsearchv1.SearchImagesRequest{}
	request.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		page.ProtoReflect().Set(field, value)
		return true
	})
	return page
}
