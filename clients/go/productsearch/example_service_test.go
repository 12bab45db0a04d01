package productsearch_test

import (
	"context"
	"log"
	"net"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// exampleService starts what the examples call, and returns its address and an image.
func exampleService() (address string, content []byte) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterProductSearchServer(server, &service{
		add:    refuseEmpty,
		update: changeAny,
		remove: deleteAny,
		search: findApples,
		batch:  deleteTheFirst,
		bulk:   (&drainedOnce{}).bulk,
	})
	go server.Serve(listener)
	return listener.Addr().String(), []byte("the bytes of a JPEG file")
}

func missing(field string) error {
	return asError(failure(codes.InvalidArgument, pb.ErrorReason_FIELD_INVALID,
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: "missing; set image and brief"},
		}}))
}

func refuseEmpty(_ context.Context, r *pb.AddImageRequest) (*pb.AddImageResponse, error) {
	if r.GetNewImage() != nil {
		return &pb.AddImageResponse{ContSign: "1,1"}, nil
	}
	return nil, missing("new_image")
}

func changeAny(context.Context, *pb.UpdateImageRequest) (*pb.UpdateImageResponse, error) {
	return &pb.UpdateImageResponse{}, nil
}

func deleteAny(context.Context, *pb.DeleteImageRequest) (*pb.DeleteImageResponse, error) {
	return &pb.DeleteImageResponse{}, nil
}

func findApples(context.Context, *pb.SearchImagesRequest) (*pb.SearchImagesResponse, error) {
	return &pb.SearchImagesResponse{Results: []*pb.SearchResult{
		{ContSign: "1,1", Score: 1, Brief: "a red apple"},
		{ContSign: "2,2", Score: 0.75, Brief: "a green apple"},
	}}, nil
}

func deleteTheFirst(
	_ context.Context, r *pb.BatchDeleteImagesRequest,
) (*pb.BatchDeleteImagesResponse, error) {
	response := &pb.BatchDeleteImagesResponse{}
	for i, sign := range r.GetContSigns() {
		result := &pb.BatchDeleteImagesResponse_Result{ContSign: sign}
		if i > 0 {
			result.Error = failure(codes.NotFound, pb.ErrorReason_IMAGE_NOT_FOUND)
			response.FailedCount++
		}
		response.Results = append(response.Results, result)
	}
	return response, nil
}

// drainedOnce is a service that is told to stop in the middle of its first long stream.
type drainedOnce struct{ streams atomic.Int32 }

func (d *drainedOnce) bulk(stream bulkServer) error {
	first := d.streams.Add(1) == 1
	signs := []string{"1,1", "2,2"}
	var stored, failed int64
	for {
		request, err := stream.Recv()
		if err != nil {
			return stream.Send(summary(stored, failed))
		}
		item := request.GetItem()
		if item == nil {
			continue
		}
		if first && stored == 30 {
			return asError(failure(codes.Unavailable, pb.ErrorReason_SERVER_DRAINING,
				&errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Nanos: 1}}))
		}
		response := added(item.GetKey())
		response.GetResult().GetAdded().ContSign = signs[stored%2]
		if item.GetNewImage().GetBrief() == "" {
			refused := failure(codes.InvalidArgument, pb.ErrorReason_FIELD_INVALID)
			response.GetResult().Outcome = &pb.BulkAddImagesResponse_ItemResult_Error{Error: refused}
			failed++
		} else {
			stored++
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}
