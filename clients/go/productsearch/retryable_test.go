package productsearch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

type retryCase struct {
	Error     string
	Code      codes.Code
	Reason    string
	Delay     *float64 `json:"delay_s"`
	Retryable bool
}

func (c retryCase) status(t *testing.T) *rpcstatus.Status {
	made := &rpcstatus.Status{Code: int32(c.Code)}
	if c.Reason != "" {
		info := &errdetails.ErrorInfo{Domain: "productsearch.v1", Reason: c.Reason}
		made.Details = append(made.Details, packed(t, info))
	}
	if c.Delay != nil {
		delay := durationpb.New(time.Duration(*c.Delay * float64(time.Second)))
		made.Details = append(made.Details, packed(t, &errdetails.RetryInfo{RetryDelay: delay}))
	}
	return made
}

// The truth table of all clients.
func TestIsRetryable(t *testing.T) {
	content, err := os.ReadFile("../../../tests/interop/retryable.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []retryCase
	if err := json.Unmarshal(content, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range cases {
		if got := productsearch.IsRetryable(productsearch.FromStatus(c.status(t))); got != c.Retryable {
			t.Errorf("%s: %v, want %v", c.Error, got, c.Retryable)
		}
	}
}

// A refused connection is retryable, of a call and of a stream; what is no call's error is not.
func TestRefusedConnectionsAreRetryable(t *testing.T) {
	client, err := productsearch.Connect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.AddImage(within(t), &pb.AddImageRequest{})
	if !productsearch.IsRetryable(err) {
		t.Errorf("%v", err)
	}
	interrupted := &productsearch.BulkInterrupted{Cause: err}
	if !productsearch.IsRetryable(fmt.Errorf("import: %w", interrupted)) {
		t.Errorf("%v", interrupted)
	}
	if productsearch.IsRetryable(nil) || productsearch.IsRetryable(errors.New("other")) ||
		productsearch.IsRetryable((&productsearch.BulkResult{}).Err) {
		t.Error("an error that is no call's is retryable")
	}
}
