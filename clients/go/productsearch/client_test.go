package productsearch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// A search is tried three times, also with an image that gRPC's own retry buffer cannot hold.
func TestSearchIsRetriedWithImagesOfAnySize(t *testing.T) {
	for _, size := range []int{64 << 10, 300 << 10, 1_100_000, 2_900_000, 6_000_000} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			content := bytes.Repeat([]byte("p"), size)
			var calls atomic.Int32
			client := dial(t, &service{search: func(
				_ context.Context, r *pb.SearchImagesRequest,
			) (*pb.SearchImagesResponse, error) {
				if !bytes.Equal(content, r.GetImage().GetContent()) {
					t.Errorf("attempt with %d bytes", len(r.GetImage().GetContent()))
				}
				if calls.Add(1) < 3 {
					return nil, asError(failure(codes.Unavailable, pb.ErrorReason_SERVER_DRAINING))
				}
				return &pb.SearchImagesResponse{LogId: 1}, nil
			}})
			request := &pb.SearchImagesRequest{Image: image(content)}
			if _, err := client.SearchImages(within(t), request); err != nil {
				t.Fatal(err)
			}
			if got := calls.Load(); got != 3 {
				t.Errorf("%d calls, want 3", got)
			}
		})
	}
}

// The service's push-back keeps the transport from trying again what was tried there already.
func TestPushbackEndsTheRetries(t *testing.T) {
	var calls atomic.Int32
	client := dial(t, &service{search: func(
		ctx context.Context, _ *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		calls.Add(1)
		if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1")); err != nil {
			t.Error(err)
		}
		return nil, asError(failure(codes.Unavailable, pb.ErrorReason_UPSTREAM_UNAVAILABLE))
	}})
	_, err := client.SearchImages(within(t), &pb.SearchImagesRequest{})
	if got := caught(t, err).Reason; got != pb.ErrorReason_UPSTREAM_UNAVAILABLE {
		t.Errorf("reason %s", got)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

// An add is sent once, whatever comes back.
func TestAddIsNotRetried(t *testing.T) {
	var calls atomic.Int32
	client := dial(t, &service{add: func(
		context.Context, *pb.AddImageRequest,
	) (*pb.AddImageResponse, error) {
		calls.Add(1)
		return nil, asError(failure(codes.Unavailable, pb.ErrorReason_SERVER_DRAINING))
	}})
	_, err := client.AddImage(within(t), &pb.AddImageRequest{})
	if got := caught(t, err).Code; got != codes.Unavailable {
		t.Errorf("code %s", got)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

// Calls without a deadline get the service config's, and an earlier one of the caller's wins.
func TestDefaultDeadlines(t *testing.T) {
	left := make(chan time.Duration, 1)
	note := func(ctx context.Context) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
	}
	client := dial(t, &service{
		add: func(ctx context.Context, _ *pb.AddImageRequest) (*pb.AddImageResponse, error) {
			note(ctx)
			return &pb.AddImageResponse{}, nil
		},
		batch: func(
			ctx context.Context, _ *pb.BatchDeleteImagesRequest,
		) (*pb.BatchDeleteImagesResponse, error) {
			note(ctx)
			return &pb.BatchDeleteImagesResponse{}, nil
		},
		bulk: func(stream bulkServer) error {
			if _, ok := stream.Context().Deadline(); ok {
				t.Error("a bulk stream has a deadline")
			}
			return echo(stream)
		},
	})
	between := func(low, high time.Duration) {
		t.Helper()
		if got := <-left; got <= low || got > high {
			t.Errorf("%s left, want more than %s and at most %s", got, low, high)
		}
	}
	ctx := context.Background()
	if _, err := client.AddImage(ctx, &pb.AddImageRequest{}); err != nil {
		t.Error(err)
	}
	between(0, 30*time.Second)
	if _, err := client.BatchDeleteImages(ctx, &pb.BatchDeleteImagesRequest{}); err != nil {
		t.Error(err)
	}
	between(30*time.Second, 300*time.Second)
	short, cancel := context.WithTimeout(ctx, 9*time.Second)
	defer cancel()
	if _, err := client.AddImage(short, &pb.AddImageRequest{}); err != nil {
		t.Error(err)
	}
	between(0, 9*time.Second)
	for _, err := range client.BulkAdd(ctx, nil, items()).Results() {
		t.Error(err)
	}
}

// The answer to a batch delete may be larger than gRPC's own limit of 4 MiB.
func TestLargeAnswersAreRead(t *testing.T) {
	answer := &pb.BatchDeleteImagesResponse{}
	for range 40_000 {
		answer.Results = append(answer.Results, &pb.BatchDeleteImagesResponse_Result{
			ContSign: "4294967295,4294967295",
			Error:    failure(codes.NotFound, pb.ErrorReason_IMAGE_NOT_FOUND),
		})
	}
	client := dial(t, &service{batch: func(
		context.Context, *pb.BatchDeleteImagesRequest,
	) (*pb.BatchDeleteImagesResponse, error) {
		return answer, nil
	}})
	response, err := client.BatchDeleteImages(within(t), &pb.BatchDeleteImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	last := response.GetResults()[39_999]
	if got := productsearch.FromStatus(last.GetError()).Reason; got != pb.ErrorReason_IMAGE_NOT_FOUND {
		t.Errorf("reason %s", got)
	}
}

// The caller's own options win over the defaults.
func TestOptionsOfTheCallerWin(t *testing.T) {
	client := dial(t, &service{search: func(
		context.Context, *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		return &pb.SearchImagesResponse{NextPageToken: "a long answer"}, nil
	}}, productsearch.WithDialOptions(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2))))
	_, err := client.SearchImages(within(t), &pb.SearchImagesRequest{})
	if got := caught(t, err).Code; got != codes.ResourceExhausted {
		t.Errorf("code %s, want the one for an answer that is too large", got)
	}
}

// An interceptor of the caller's sees gRPC's own errors, and its own error reaches the caller.
func TestInterceptorsOfTheCaller(t *testing.T) {
	mine := errors.New("mine")
	client := dial(t, &service{}, productsearch.WithDialOptions(grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, request, response any,
		conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		err := invoke(ctx, method, request, response, conn, options...)
		if got := status.Code(err); got != codes.Unimplemented {
			t.Errorf("code %s", got)
		}
		return mine
	})))
	_, err := client.DeleteImage(within(t), &pb.DeleteImageRequest{})
	if err != mine {
		t.Errorf("%v", err)
	}
}

// A target that cannot be meant is told at once.
func TestConnectNeedsATarget(t *testing.T) {
	if _, err := productsearch.Connect(""); err == nil {
		t.Error("no error")
	}
}

// What no message can carry is refused with the field's name, before it is sent.
func TestRequestsThatCannotBeSentNameTheField(t *testing.T) {
	client := dial(t, &service{})
	ctx := within(t)
	for field, call := range map[string]func() error{
		"new_image.brief": func() error {
			_, err := client.AddImage(ctx, &pb.AddImageRequest{NewImage: &pb.NewImage{Brief: "\xff"}})
			return err
		},
		"cont_signs[1]": func() error {
			request := &pb.BatchDeleteImagesRequest{ContSigns: []string{"1,2", "\xff"}}
			_, err := client.BatchDeleteImages(ctx, request)
			return err
		},
		"image_ref.cont_sign": func() error {
			ref := &pb.ImageRef{Ref: &pb.ImageRef_ContSign{ContSign: "\xff"}}
			_, err := client.DeleteImage(ctx, &pb.DeleteImageRequest{ImageRef: ref})
			return err
		},
		"*": func() error {
			long := strings.Repeat("a", 22<<20)
			_, err := client.SearchImages(ctx, &pb.SearchImagesRequest{Library: long})
			return err
		},
	} {
		failed := caught(t, call())
		if failed.Reason != pb.ErrorReason_FIELD_INVALID || failed.Code != codes.InvalidArgument {
			t.Errorf("%s: %v", field, failed)
		}
		if len(failed.FieldViolations) != 1 || failed.FieldViolations[0].Field != field {
			t.Errorf("%s: violations %v", field, failed.FieldViolations)
		}
	}
}

func image(content []byte) *pb.ImageSource {
	return &pb.ImageSource{Source: &pb.ImageSource_Content{Content: content}}
}

// An image over 20 MiB is refused as the service would refuse it, under its field.
func TestLargeImagesAreRefusedBeforeTheyAreSent(t *testing.T) {
	client, err := productsearch.Connect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := within(t)
	large := image(make([]byte, 24_000_000))
	ref := productsearch.RefByImage(large)
	told := "24000000 bytes; at most 20971520 (20 MiB) with fit, about 2.9 MB without: scale it down"
	for field, call := range map[string]func() error{
		"new_image.image.content": func() error {
			_, err := client.AddImage(ctx, &pb.AddImageRequest{NewImage: &pb.NewImage{Image: large}})
			return err
		},
		"image.content": func() error {
			_, err := client.SearchImages(ctx, &pb.SearchImagesRequest{Image: large})
			return err
		},
		"image_ref.image.content": func() error {
			_, err := client.DeleteImage(ctx, &pb.DeleteImageRequest{ImageRef: ref})
			return err
		},
	} {
		failed := caught(t, call())
		if failed.Reason != pb.ErrorReason_IMAGE_SIZE_INVALID || failed.Code != codes.InvalidArgument {
			t.Errorf("%s: %v", field, failed)
		}
		want := []productsearch.FieldViolation{{Field: field, Description: told}}
		if !slices.Equal(want, failed.FieldViolations) {
			t.Errorf("%s: violations %v", field, failed.FieldViolations)
		}
	}
}

// The service takes 20 MiB, so the client sends them.
func TestTheLargestImageIsSent(t *testing.T) {
	client := dial(t, &service{search: func(
		_ context.Context, request *pb.SearchImagesRequest,
	) (*pb.SearchImagesResponse, error) {
		return &pb.SearchImagesResponse{LogId: uint64(len(request.GetImage().GetContent()))}, nil
	}})
	request := &pb.SearchImagesRequest{Image: image(make([]byte, 20<<20))}
	found, err := client.SearchImages(within(t), request)
	if err != nil || found.GetLogId() != 20<<20 {
		t.Errorf("%v %v", found, err)
	}
}

// An address of the web is refused with what to write; gRPC's own schemes work.
func TestConnectRefusesAddressesOfTheWeb(t *testing.T) {
	for _, scheme := range []string{"http://", "HTTPS://", "grpc://"} {
		_, err := productsearch.Connect(scheme + "127.0.0.1:50051")
		if err == nil || !strings.Contains(err.Error(), "use host:port, without "+scheme) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	_, address := serve(t, &service{search: findApples})
	for _, target := range []string{"passthrough:///" + address, "dns:///" + address} {
		client, err := productsearch.Connect(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.SearchImages(within(t), &pb.SearchImagesRequest{}); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		client.Close()
	}
}
