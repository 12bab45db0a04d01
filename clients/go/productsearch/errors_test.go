package productsearch_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// failingWith returns the error of a real call that the service answers with a status.
func failingWith(t *testing.T, s *rpcstatus.Status) error {
	t.Helper()
	client := dial(t, &service{add: func(
		context.Context, *pb.AddImageRequest,
	) (*pb.AddImageResponse, error) {
		return nil, asError(s)
	}})
	_, err := client.AddImage(within(t), &pb.AddImageRequest{})
	return err
}

func packed(t *testing.T, detail proto.Message) *anypb.Any {
	t.Helper()
	made, err := anypb.New(detail)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Every detail arrives, to the last bit of the log id.
func TestErrorHoldsEveryDetail(t *testing.T) {
	err := failingWith(t, &rpcstatus.Status{
		Code:    int32(codes.ResourceExhausted),
		Message: "zu viele Aufrufe 太多",
		Details: []*anypb.Any{
			packed(t, &errdetails.ErrorInfo{
				Domain: "productsearch.v1",
				Reason: "RATE_LIMITED",
				Metadata: map[string]string{
					"upstreamCode": "18", "logId": "18446744073709551615", "contSign": "1,2",
				},
			}),
			packed(t, &errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}),
			packed(t, &errdetails.BadRequest{
				FieldViolations: []*errdetails.BadRequest_FieldViolation{
					{Field: "new_image.brief", Description: "missing"},
					{Field: "new_image.class_id1", Description: "70000 is out of range"},
				},
			}),
		},
	})
	failed := caught(t, err)
	if failed.Reason != pb.ErrorReason_RATE_LIMITED || failed.ReasonName != "RATE_LIMITED" {
		t.Errorf("reason %s, %q", failed.Reason, failed.ReasonName)
	}
	if failed.Code != codes.ResourceExhausted || failed.Message != "zu viele Aufrufe 太多" {
		t.Errorf("%s %q", failed.Code, failed.Message)
	}
	if failed.UpstreamCode != 18 || failed.LogID != math.MaxUint64 || failed.ContSign != "1,2" {
		t.Errorf("%d %d %q", failed.UpstreamCode, failed.LogID, failed.ContSign)
	}
	if delay, ok := failed.RetryDelay(); delay != 1500*time.Millisecond || !ok {
		t.Errorf("retry delay %s, %t", delay, ok)
	}
	line := "productsearch: RATE_LIMITED: zu viele Aufrufe 太多 (ResourceExhausted, " +
		"retry after 1.5s, cont_sign 1,2, log_id 18446744073709551615)"
	if failed.Error() != line {
		t.Errorf("%q, want %q", failed.Error(), line)
	}
	want := []productsearch.FieldViolation{
		{Field: "new_image.brief", Description: "missing"},
		{Field: "new_image.class_id1", Description: "70000 is out of range"},
	}
	if !reflect.DeepEqual(want, failed.FieldViolations) {
		t.Errorf("violations %v", failed.FieldViolations)
	}
}

// gRPC's own functions find the whole status in an Error.
func TestErrorIsAGRPCStatus(t *testing.T) {
	sent := failure(codes.NotFound, pb.ErrorReason_IMAGE_NOT_FOUND)
	err := failingWith(t, sent)
	got, ok := status.FromError(err)
	if !ok || !proto.Equal(sent, got.Proto()) {
		t.Errorf("status %v, want %v", got.Proto(), sent)
	}
	made := &productsearch.Error{Code: codes.NotFound}
	if got := status.Code(made); got != codes.NotFound {
		t.Errorf("code of one made by hand: %s", got)
	}
}

// Each reason of the enum is told from its name.
func TestEveryReasonIsTold(t *testing.T) {
	for number, name := range pb.ErrorReason_name {
		reason := pb.ErrorReason(number)
		got := productsearch.FromStatus(failure(codes.Unknown, reason))
		if got.Reason != reason || got.ReasonName != name {
			t.Errorf("%s: %s, %q", name, got.Reason, got.ReasonName)
		}
	}
}

// Details that are strange or broken are passed over, and the rest is still read.
func TestStrangeDetailsArePassedOver(t *testing.T) {
	info := func(domain, reason string, metadata map[string]string) *anypb.Any {
		return packed(t, &errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: metadata})
	}
	for name, details := range map[string][]*anypb.Any{
		"none":             nil,
		"another domain's": {info("elsewhere", "IMAGE_NOT_FOUND", map[string]string{"logId": "7"})},
		"of unknown type":  {{TypeUrl: "type.googleapis.com/no.such.Message", Value: []byte("x")}},
		"cut":              {{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: []byte{10, 99}}},
		"numbers that are none": {info("productsearch.v1", "", map[string]string{
			"upstreamCode": "many", "logId": "18446744073709551616",
		})},
	} {
		details = append(details, packed(t, &errdetails.RetryInfo{}))
		got := productsearch.FromStatus(&rpcstatus.Status{Code: int32(codes.Internal), Details: details})
		if got.Reason != 0 || got.ReasonName != "" || got.UpstreamCode != 0 || got.LogID != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if _, ok := got.RetryDelay(); !ok {
			t.Errorf("%s: the detail after it was not read", name)
		}
	}
}

// A delay that nobody can wait for becomes the nearest one that can be.
func TestImpossibleDelaysAreBounded(t *testing.T) {
	for told, read := range map[int64]time.Duration{
		math.MinInt64: 0, -1: 0, 2: 2 * time.Second, math.MaxInt64: math.MaxInt64,
	} {
		info := &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: told}}
		failed := productsearch.FromStatus(&rpcstatus.Status{
			Code: int32(codes.Unavailable), Details: []*anypb.Any{packed(t, info)},
		})
		if delay, ok := failed.RetryDelay(); !ok || delay != read {
			t.Errorf("%d s: read as %v, %v", told, delay, ok)
		}
	}
}

// A reason newer than the client has no value, but keeps its name.
func TestNewerReasonKeepsItsName(t *testing.T) {
	s := &rpcstatus.Status{Code: int32(codes.Aborted), Details: []*anypb.Any{
		packed(t, &errdetails.ErrorInfo{Domain: "productsearch.v1", Reason: "OF_TOMORROW"}),
	}}
	got := productsearch.FromStatus(s)
	if got.Reason != pb.ErrorReason_ERROR_REASON_UNSPECIFIED || got.ReasonName != "OF_TOMORROW" {
		t.Errorf("%s, %q", got.Reason, got.ReasonName)
	}
}

// What did not fail is no error.
func TestNoErrorFromOK(t *testing.T) {
	for _, s := range []*rpcstatus.Status{nil, {}} {
		if got := productsearch.FromStatus(s); got != nil {
			t.Errorf("%v", got)
		}
	}
}

// A failure of gRPC itself is an Error too, without a reason, and the context's where it is.
func TestErrorsOfTheTransport(t *testing.T) {
	waits := &service{add: func(ctx context.Context, _ *pb.AddImageRequest) (*pb.AddImageResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	client := dial(t, waits)
	ended, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := client.AddImage(ended, &pb.AddImageRequest{})
	if got := caught(t, err); got.Code != codes.DeadlineExceeded || got.ReasonName != "" {
		t.Errorf("%v", got)
	}
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("not the context's error: %v", err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = client.AddImage(cancelled, &pb.AddImageRequest{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("not the context's error: %v", err)
	}
	client.Close()
	_, err = client.AddImage(context.Background(), &pb.AddImageRequest{})
	if got := caught(t, err).Code; got != codes.Canceled {
		t.Errorf("after Close: %s", got)
	}
	_, err = client.BulkAddImages(context.Background())
	if got := caught(t, err).Code; got != codes.Canceled {
		t.Errorf("a stream after Close: %s", got)
	}
}

// The generated stream fails with an Error too, whichever way it is going.
func TestErrorsOfTheGeneratedStream(t *testing.T) {
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	}})
	ctx, cancel := context.WithCancel(within(t))
	stream, err := client.BulkAddImages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	broken := &pb.BulkAddImagesRequest{Part: &pb.BulkAddImagesRequest_Item_{
		Item: &productsearch.BulkItem{Key: "\xff"},
	}}
	if got := caught(t, stream.Send(broken)).Code; got != codes.Internal {
		t.Errorf("Send: %s", got)
	}
	if stream, err = client.BulkAddImages(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = stream.Recv()
	if got := caught(t, err).Code; got != codes.Canceled {
		t.Errorf("Recv: %s", got)
	}
}
