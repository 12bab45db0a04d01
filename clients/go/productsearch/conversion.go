package productsearch

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// convert turns gRPC's error into an *Error. Other errors stay as they are: io.EOF at the end of
// a stream, and the errors of other interceptors.
func convert(err error, target string) error {
	if err == nil || err == io.EOF {
		return err
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	s, ok := status.FromError(err)
	if failed := FromStatus(s.Proto()); ok && failed != nil {
		failed.target = target
		return failed
	}
	return err
}

func convertUnary(
	ctx context.Context, method string, request, response any,
	conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if message, ok := request.(proto.Message); ok {
		if refusal := refusalOf(message); refusal != nil {
			return refusal
		}
	}
	return convert(invoke(ctx, method, request, response, conn, options...), conn.Target())
}

func convertStream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn,
	method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		return nil, convert(err, conn.Target())
	}
	return convertedStream{stream, conn.Target()}, nil
}

// convertedStream is a stream whose methods fail with an *Error. Header is not
// converted: the status of a failed stream comes from RecvMsg.
type convertedStream struct {
	grpc.ClientStream

	target string
}

func (s convertedStream) SendMsg(message any) error {
	return convert(s.ClientStream.SendMsg(message), s.target)
}

func (s convertedStream) RecvMsg(message any) error {
	return convert(s.ClientStream.RecvMsg(message), s.target)
}

func (s convertedStream) CloseSend() error {
	return convert(s.ClientStream.CloseSend(), s.target)
}
