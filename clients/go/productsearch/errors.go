package productsearch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// errorDomain is the domain of the google.rpc.ErrorInfo that the service sends.
const errorDomain = "productsearch.v1"

// Error says why a call failed. Every call of a Client fails with one, also where gRPC itself
// or the context ended the call. Take it with errors.As.
type Error struct {
	// Reason is ERROR_REASON_UNSPECIFIED for gRPC's own errors, and for a reason newer than
	// this client.
	Reason productsearchv1.ErrorReason
	// ReasonName is the reason as it was sent; empty for gRPC's own errors.
	ReasonName string
	// Code is the gRPC status code.
	Code codes.Code
	// Message is the status message, one sentence for people.
	Message string
	// UpstreamCode is the upstream's error_code, for its error table; 0 if it sent none.
	UpstreamCode int
	// LogID is the upstream's log_id of the failed call, for its support; 0 if it sent none.
	LogID uint64
	// ContSign is the signature of the image that is stored already, with
	// IMAGE_ALREADY_EXISTS.
	ContSign string
	// FieldViolations are all wrong fields of the request, in the service's order.
	FieldViolations []FieldViolation

	target     string // where the call went to; empty if that is not known
	retryDelay time.Duration
	retryable  bool
	proto      *rpcstatus.Status
}

// FieldViolation says what is wrong with one field of a request.
type FieldViolation struct {
	// Field is the path, such as new_image.class_id1.
	Field string
	// Description says what was wrong and what would be right.
	Description string
}

// FromStatus converts a status to an *Error: that of one bulk item or of one batch-deleted
// signature. It returns nil for a nil or OK status.
func FromStatus(s *rpcstatus.Status) *Error {
	if s.GetCode() == int32(codes.OK) {
		return nil
	}
	e := &Error{Code: codes.Code(s.GetCode()), Message: s.GetMessage(), proto: s}
	for _, packed := range s.GetDetails() {
		// Details of an unknown type, or that cannot be decoded, are skipped.
		detail, err := packed.UnmarshalNew()
		if err != nil {
			continue
		}
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.readInfo(detail)
		case *errdetails.RetryInfo:
			e.retryDelay, e.retryable = max(0, detail.GetRetryDelay().AsDuration()), true
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				violation := FieldViolation{Field: v.GetField(), Description: v.GetDescription()}
				e.FieldViolations = append(e.FieldViolations, violation)
			}
		}
	}
	return e
}

func (e *Error) readInfo(info *errdetails.ErrorInfo) {
	if info.GetDomain() != errorDomain {
		return
	}
	metadata := info.GetMetadata()
	e.ReasonName = info.GetReason()
	e.Reason = productsearchv1.ErrorReason(productsearchv1.ErrorReason_value[e.ReasonName])
	e.ContSign = metadata["contSign"]
	if code, err := strconv.ParseInt(metadata["upstreamCode"], 10, 32); err == nil {
		e.UpstreamCode = int(code)
	}
	if id, err := strconv.ParseUint(metadata["logId"], 10, 64); err == nil {
		e.LogID = id
	}
}

// RetryDelay returns after what time trying again can help; not ok: the service names no time.
func (e *Error) RetryDelay() (delay time.Duration, ok bool) { return e.retryDelay, e.retryable }

// IsRetryable returns whether the same call can succeed later; adds are repeated with the policy
// KEEP. That is so if the service names a delay (RetryDelay), if it says ADD_OUTCOME_UNKNOWN, and
// for UNAVAILABLE without a reason, which gRPC or a mesh says of a connection that is refused or
// lost: then wait about a second, and longer each time. It takes the errors of this package's calls.
func IsRetryable(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) || failed == nil {
		return false
	}
	return failed.retryable ||
		failed.Reason == productsearchv1.ErrorReason_ADD_OUTCOME_UNKNOWN ||
		failed.ReasonName == "" && failed.Code == codes.Unavailable
}

// Error returns one line: reason, message, code, and what the error says of retry and log_id.
// An address that cannot be reached is named with the cause.
func (e *Error) Error() string {
	var told []string
	kind, message := e.ReasonName, e.Message
	if kind == "" {
		kind = e.Code.String()
		if e.Code == codes.Unavailable && e.target != "" {
			message = fmt.Sprintf("cannot reach %s: %s", e.target, message)
		}
	} else {
		told = append(told, e.Code.String())
	}
	if e.retryable {
		told = append(told, fmt.Sprintf("retry after %s", e.retryDelay))
	}
	if e.ContSign != "" {
		told = append(told, "cont_sign "+e.ContSign)
	}
	if e.LogID != 0 {
		told = append(told, fmt.Sprintf("log_id %d", e.LogID))
	}
	line := fmt.Sprintf("productsearch: %s: %s", kind, message)
	if len(told) > 0 {
		line += " (" + strings.Join(told, ", ") + ")"
	}
	return line
}

// GRPCStatus returns the status with all its details, so that status.FromError and status.Code
// work on an Error.
func (e *Error) GRPCStatus() *status.Status {
	if e.proto == nil {
		return status.New(e.Code, e.Message)
	}
	return status.FromProto(e.proto)
}

// Is makes errors.Is(err, context.DeadlineExceeded) true for DEADLINE_EXCEEDED, and
// errors.Is(err, context.Canceled) for CANCELLED.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded ||
		target == context.Canceled && e.Code == codes.Canceled
}
