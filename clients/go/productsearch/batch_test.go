package productsearch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

func signs(count int) []string {
	made := make([]string, count)
	for i := range made {
		made[i] = fmt.Sprintf("1,%d", i)
	}
	return made
}

// batches notes the calls, and fails from one of them on.
func batches(failing int) (*service, *[]*pb.BatchDeleteImagesRequest) {
	var calls []*pb.BatchDeleteImagesRequest
	return &service{batch: func(
		_ context.Context, r *pb.BatchDeleteImagesRequest,
	) (*pb.BatchDeleteImagesResponse, error) {
		calls = append(calls, r)
		if len(calls) >= failing {
			return nil, asError(failure(codes.ResourceExhausted, pb.ErrorReason_RATE_LIMITED))
		}
		answer := &pb.BatchDeleteImagesResponse{FailedCount: 1}
		for i, sign := range r.GetContSigns() {
			result := &pb.BatchDeleteImagesResponse_Result{ContSign: sign, LogId: uint64(len(calls))}
			if i == 0 {
				result.Error = failure(codes.NotFound, pb.ErrorReason_IMAGE_NOT_FOUND)
			}
			answer.Results = append(answer.Results, result)
		}
		return answer, nil
	}}, &calls
}

// Any number of signatures goes out in calls of 10,000 at most, and each has its result.
func TestBatchDeleteSplits(t *testing.T) {
	for count, wanted := range map[int][]int{
		0: {0}, 1: {1}, 10_000: {10_000}, 10_001: {10_000, 1}, 25_000: {10_000, 10_000, 5_000},
	} {
		s, calls := batches(99)
		request := &pb.BatchDeleteImagesRequest{
			Library: "shoes", AllowMissing: true, ContSigns: signs(count),
		}
		response, err := dial(t, s).BatchDelete(within(t), request)
		if err != nil {
			t.Fatal(err)
		}
		var sizes []int
		for _, call := range *calls {
			sizes = append(sizes, len(call.GetContSigns()))
			if call.GetLibrary() != "shoes" || !call.GetAllowMissing() {
				t.Errorf("%d: library %q, allow_missing %t", count, call.GetLibrary(), call.GetAllowMissing())
			}
		}
		if !slices.Equal(wanted, sizes) {
			t.Errorf("%d: calls of %v, want %v", count, sizes, wanted)
		}
		if got := int(response.GetFailedCount()); got != len(wanted) {
			t.Errorf("%d: %d failed", count, got)
		}
		sameOrder(t, request, response)
	}
}

func sameOrder(t *testing.T, asked *pb.BatchDeleteImagesRequest, got *pb.BatchDeleteImagesResponse) {
	t.Helper()
	var answered []string
	for _, result := range got.GetResults() {
		answered = append(answered, result.GetContSign())
	}
	if !slices.Equal(asked.GetContSigns(), answered) {
		t.Errorf("%d signatures are answered with %d results", len(asked.GetContSigns()), len(answered))
	}
}

// The first call's failure is the whole one's; a later one stands beside what it left undone.
func TestBatchDeleteKeepsWhatWasDone(t *testing.T) {
	request := &pb.BatchDeleteImagesRequest{ContSigns: signs(25_000)}
	s, calls := batches(1)
	_, err := dial(t, s).BatchDelete(within(t), request)
	if caught(t, err).Reason != pb.ErrorReason_RATE_LIMITED || len(*calls) != 1 {
		t.Errorf("%v after %d calls", err, len(*calls))
	}
	s, calls = batches(2)
	response, err := dial(t, s).BatchDelete(within(t), request)
	if err != nil || len(*calls) != 2 {
		t.Fatalf("%v after %d calls", err, len(*calls))
	}
	sameOrder(t, request, response)
	if got := response.GetFailedCount(); got != 15_001 {
		t.Errorf("%d failed", got)
	}
	for i, result := range response.GetResults() {
		failed := productsearch.FromStatus(result.GetError())
		switch {
		case i == 0 && failed.Reason != pb.ErrorReason_IMAGE_NOT_FOUND,
			i > 0 && i < 10_000 && failed != nil,
			i >= 10_000 && failed.Reason != pb.ErrorReason_RATE_LIMITED:
			t.Fatalf("%d: %v", i, failed)
		}
	}
}
