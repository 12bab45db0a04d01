package productsearch_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// shelf answers searches with its pages: the token is the number of the next one.
type shelf struct {
	pages    [][]string
	requests []*pb.SearchImagesRequest
}

func (s *shelf) search(
	_ context.Context, r *pb.SearchImagesRequest,
) (*pb.SearchImagesResponse, error) {
	s.requests = append(s.requests, r)
	number, _ := strconv.Atoi(r.GetPageToken())
	response := &pb.SearchImagesResponse{}
	for _, sign := range s.pages[number] {
		response.Results = append(response.Results, &pb.SearchResult{ContSign: sign})
	}
	if number+1 < len(s.pages) {
		response.NextPageToken = strconv.Itoa(number + 1)
	}
	return response, nil
}

// All results come in order, over short and empty pages, and the caller's request stays as it is.
func TestSearchAllYieldsEveryPage(t *testing.T) {
	shelf := &shelf{pages: [][]string{{"a", "b"}, {}, {"c"}, {"d"}}}
	client := dial(t, &service{search: shelf.search})
	request := &pb.SearchImagesRequest{Image: image([]byte("p")), PageSize: 2, Skip: 5, MinScore: 0.5}
	before := proto.Clone(request)
	for range 2 {
		shelf.requests = nil
		var signs []string
		for result, err := range client.SearchAll(within(t), request) {
			if err != nil {
				t.Fatal(err)
			}
			signs = append(signs, result.GetContSign())
		}
		if want := []string{"a", "b", "c", "d"}; !slices.Equal(want, signs) {
			t.Errorf("results %v", signs)
		}
		if !proto.Equal(before, request) {
			t.Error("the request was changed")
		}
	}
	for i, sent := range shelf.requests {
		want := proto.CloneOf(request)
		if i > 0 {
			want.PageToken, want.Skip = fmt.Sprint(i), 0
		}
		if !proto.Equal(want, sent) {
			t.Errorf("page %d: asked %v, want %v", i, sent, want)
		}
	}
}

// A loop that is left asks for no further page.
func TestSearchAllStopsWithTheLoop(t *testing.T) {
	shelf := &shelf{pages: [][]string{{"a", "b"}, {"c"}}}
	client := dial(t, &service{search: shelf.search})
	for result := range client.SearchAll(within(t), &pb.SearchImagesRequest{}) {
		if result.GetContSign() == "b" {
			break
		}
	}
	if got := len(shelf.requests); got != 1 {
		t.Errorf("%d pages asked for, want 1", got)
	}
}

// A failure in the middle comes after the results before it, once.
func TestSearchAllEndsWithTheError(t *testing.T) {
	calls := 0
	client := dial(t, &service{search: func(
		context.Context, *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		if calls++; calls == 2 {
			return nil, asError(failure(codes.ResourceExhausted, pb.ErrorReason_RATE_LIMITED))
		}
		results := []*pb.SearchResult{{ContSign: "a"}}
		return &pb.SearchImagesResponse{Results: results, NextPageToken: "1"}, nil
	}})
	var signs []string
	var errs []error
	for result, err := range client.SearchAll(within(t), &pb.SearchImagesRequest{}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		signs = append(signs, result.GetContSign())
	}
	if !slices.Equal([]string{"a"}, signs) || len(errs) != 1 {
		t.Fatalf("results %v, errors %v", signs, errs)
	}
	if got := caught(t, errs[0]).Reason; got != pb.ErrorReason_RATE_LIMITED {
		t.Errorf("reason %s", got)
	}
}

// A service that names one page as its own successor does not keep the loop forever.
func TestSearchAllNoticesACircle(t *testing.T) {
	client := dial(t, &service{search: func(
		context.Context, *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		return &pb.SearchImagesResponse{NextPageToken: "again"}, nil
	}})
	for _, err := range client.SearchAll(within(t), &pb.SearchImagesRequest{}) {
		if got := caught(t, err).Code; got != codes.Internal {
			t.Errorf("code %s", got)
		}
	}
}
