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

const (
	// imageBytesMax is the largest image that the service takes, with Fit.
	imageBytesMax = 20 << 20
	// requestBytesMax is the largest message that the service reads.
	requestBytesMax = 21 << 20
	// What a message of a bulk stream needs beside its item.
	envelopeBytes = 16
)

// refusalOf returns why a message cannot be sent at all, or nil. gRPC's own error does not name
// the field, and it ends a whole bulk stream for one item.
func refusalOf(message proto.Message) *Error {
	if field := invalidText(message.ProtoReflect()); field != "" {
		return refuse(field, "is not valid UTF-8")
	}
	if field, size := largeImage(message.ProtoReflect()); field != "" {
		return refuseFor(productsearchv1.ErrorReason_IMAGE_SIZE_INVALID, field, fmt.Sprintf(
			"%d bytes; at most %d (20 MiB) with fit, about 2.9 MB without: scale it down",
			size, imageBytesMax))
	}
	if size := proto.Size(message); size > requestBytesMax-envelopeBytes {
		return refuse("*", fmt.Sprintf("has %d bytes in all; the service reads at most %d",
			size, requestBytesMax-envelopeBytes))
	}
	return nil
}

// refuse returns the error with which the service refuses a field.
func refuse(field, description string) *Error {
	return refuseFor(productsearchv1.ErrorReason_FIELD_INVALID, field, description)
}

func refuseFor(reason productsearchv1.ErrorReason, field, description string) *Error {
	status := &rpcstatus.Status{
		Code:    int32(codes.InvalidArgument),
		Message: field + ": " + description,
	}
	for _, detail := range []proto.Message{
		&errdetails.ErrorInfo{
			Domain: errorDomain,
			Reason: reason.String(),
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

// largeImage returns the path and size of the first image larger than the service takes, or "".
func largeImage(message protoreflect.Message) (path string, size int) {
	if image, ok := message.Interface().(*productsearchv1.ImageSource); ok {
		if size = len(image.GetContent()); size > imageBytesMax {
			return "content", size
		}
		return "", 0
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() == protoreflect.MessageKind && !field.IsList() && !field.IsMap() {
			var inner string
			if inner, size = largeImage(value.Message()); inner != "" {
				path = string(field.Name()) + "." + inner
			}
		}
		return path == ""
	})
	return path, size
}
