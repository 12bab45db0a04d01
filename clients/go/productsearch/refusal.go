package productsearch

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// requestBytesMax is the largest message that the service reads.
const requestBytesMax = 21 << 20

// What a message of a bulk stream needs beside its item.
const envelopeBytes = 16

// refusalOf returns why a message cannot be sent at all, or nil. gRPC's own error does not name
// the field, and it ends a whole bulk stream for one item.
func refusalOf(message proto.Message) *Error {
	if field := invalidText(message.ProtoReflect()); field != "" {
		return refuse(field, "is not valid UTF-8")
	}
	if size := proto.Size(message); size > requestBytesMax-envelopeBytes {
		return refuse("*", fmt.Sprintf("has %d bytes in all; the service reads at most %d",
			size, requestBytesMax-envelopeBytes))
	}
	return nil
}

// refuse returns the error with which the service refuses a field.
func refuse(field, description string) *Error {
	status := &rpcstatus.Status{
		Code:    int32(codes.InvalidArgument),
		Message: field + ": " + description,
	}
	for _, detail := range []proto.Message{
		&errdetails.ErrorInfo{
			Domain: errorDomain,
			Reason: productsearchv1.ErrorReason_FIELD_INVALID.String(),
		},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: description},
		}},
	} {
		// Packing fails only for text that is not UTF-8, and this is.
		if packed, err := anypb.New(detail); err == nil {
			status.Details = append(status.Details, packed)
		}
	}
	return FromStatus(status)
}

// invalidText returns the path of the first field whose text is not UTF-8, or "".
func invalidText(message protoreflect.Message) (path string) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := string(field.Name())
		switch {
		case field.IsList() && field.Kind() == protoreflect.StringKind:
			for i := range value.List().Len() {
				if !utf8.ValidString(value.List().Get(i).String()) {
					path = fmt.Sprintf("%s[%d]", name, i)
					break
				}
			}
		case field.Kind() == protoreflect.StringKind:
			if !utf8.ValidString(value.String()) {
				path = name
			}
		case field.Kind() == protoreflect.MessageKind && !field.IsList() && !field.IsMap():
			if inner := invalidText(value.Message()); inner != "" {
				path = name + "." + inner
			}
		}
		return path == ""
	})
	return path
}
