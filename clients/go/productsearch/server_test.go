package productsearch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// service answers as each test wants; what a test does not set is UNIMPLEMENTED.
type service struct {
	pb.UnimplementedProductSearchServer

	add    func(context.Context, *pb.AddImageRequest) (*pb.AddImageResponse, error)
	search func(context.Context, *pb.SearchImagesRequest) (*pb.SearchImagesResponse, error)
	update func(context.Context, *pb.UpdateImageRequest) (*pb.UpdateImageResponse, error)
	remove func(context.Context, *pb.DeleteImageRequest) (*pb.DeleteImageResponse, error)
	batch  func(context.Context, *pb.BatchDeleteImagesRequest) (*pb.BatchDeleteImagesResponse, error)
	bulk   func(bulkServer) error
}

type bulkServer = grpc.BidiStreamingServer[pb.BulkAddImagesRequest, pb.BulkAddImagesResponse]

func (s *service) AddImage(ctx context.Context, r *pb.AddImageRequest) (*pb.AddImageResponse, error) {
	return s.add(ctx, r)
}

func (s *service) SearchImages(
	ctx context.Context, r *pb.SearchImagesRequest,
) (*pb.SearchImagesResponse, error) {
	return s.search(ctx, r)
}

func (s *service) UpdateImage(
	ctx context.Context, r *pb.UpdateImageRequest,
) (*pb.UpdateImageResponse, error) {
	return s.update(ctx, r)
}

func (s *service) DeleteImage(
	ctx context.Context, r *pb.DeleteImageRequest,
) (*pb.DeleteImageResponse, error) {
	if s.remove == nil {
		return s.UnimplementedProductSearchServer.DeleteImage(ctx, r)
	}
	return s.remove(ctx, r)
}

func (s *service) BatchDeleteImages(
	ctx context.Context, r *pb.BatchDeleteImagesRequest,
) (*pb.BatchDeleteImagesResponse, error) {
	return s.batch(ctx, r)
}

func (s *service) BulkAddImages(stream bulkServer) error { return s.bulk(stream) }

// serve starts a real gRPC server on loopback, with the service's own limit for messages, and
// returns it with its address.
func serve(t *testing.T, s *service, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(21<<20))...)
	pb.RegisterProductSearchServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server, listener.Addr().String()
}

// dial returns a client of s on a plaintext connection of its own.
func dial(t *testing.T, s *service, options ...productsearch.Option) *productsearch.Client {
	t.Helper()
	_, address := serve(t, s)
	return connect(t, address, options...)
}

func connect(t *testing.T, address string, options ...productsearch.Option) *productsearch.Client {
	t.Helper()
	client, err := productsearch.Connect(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// within returns a context that ends what hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// failure makes the status that the service sends for a reason.
func failure(code codes.Code, reason pb.ErrorReason, details ...proto.Message) *rpcstatus.Status {
	made := &rpcstatus.Status{Code: int32(code), Message: fmt.Sprintf("failed for %s", reason)}
	info := &errdetails.ErrorInfo{Domain: "productsearch.v1", Reason: reason.String()}
	for _, detail := range append([]proto.Message{info}, details...) {
		packed, err := anypb.New(detail)
		if err != nil {
			panic(err)
		}
		made.Details = append(made.Details, packed)
	}
	return made
}

func asError(s *rpcstatus.Status) error { return status.FromProto(s).Err() }

// caught returns the *Error in err, and fails the test if there is none.
func caught(t *testing.T, err error) *productsearch.Error {
	t.Helper()
	var failure *productsearch.Error
	if !errors.As(err, &failure) {
		t.Fatalf("want a *productsearch.Error, got %T: %v", err, err)
	}
	return failure
}

// noMoreGoroutines fails the test unless the number of goroutines falls back to what it was.
func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before,
				stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(time.Millisecond)
	}
}
