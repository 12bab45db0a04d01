package productsearch

import (
	"context"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

const (
	// Items taken whose results were not taken yet. The service works on 8 at once, so it never
	// waits for this client.
	unansweredMax = 64
	// How long a stream may go on after its summary before it is cancelled.
	drainTimeout = time.Second
)

var errNoSummary = &Error{
	Code:    codes.Internal,
	Message: "the service ended the stream before all items had a result",
}

type bulkStream = grpc.BidiStreamingClient[
	productsearchv1.BulkAddImagesRequest, productsearchv1.BulkAddImagesResponse,
]

// bulkRun is a bulk add under way. One goroutine sends, one receives, and both hand results to
// the caller's loop. Only that loop marks an item as answered.
type bulkRun struct {
	ctx        context.Context
	cancel     context.CancelFunc
	stream     bulkStream
	results    chan *BulkResult
	room       chan struct{} // a semaphore: one element for each unanswered item
	unanswered unansweredItems

	// Written by send, to be read when sent is closed.
	sent     chan struct{}
	allSent  bool
	taken    int
	refused  int64
	sendErr  error
	panicked any

	// Written by receive, to be read when received is closed.
	received   chan struct{}
	summary    *BulkSummary
	receiveErr error
}

func startBulk(
	ctx context.Context, client *Client, settings *BulkSettings, items iter.Seq[*BulkItem],
) (*bulkRun, error) {
	if refusal := refusalOf(settings); refusal != nil {
		return nil, refusal
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.BulkAddImages(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	run := &bulkRun{
		ctx:      ctx,
		cancel:   cancel,
		stream:   stream,
		results:  make(chan *BulkResult),
		room:     make(chan struct{}, unansweredMax),
		sent:     make(chan struct{}),
		received: make(chan struct{}),
	}
	go run.send(settings, items)
	go run.receive()
	return run, nil
}

// all yields the results until the stream has ended.
func (r *bulkRun) all() iter.Seq[*BulkResult] {
	return func(yield func(*BulkResult) bool) {
		for {
			select {
			case result := <-r.results:
				if r.unanswered.settle(result) {
					<-r.room
				}
				if !yield(result) {
					return
				}
			case <-r.received:
				return
			}
		}
	}
}

// stop ends both goroutines and waits for them. If the sequence of items panicked, stop panics
// with the same value in the goroutine of the caller's loop, where it can be recovered.
func (r *bulkRun) stop() {
	r.cancel()
	<-r.sent
	<-r.received
	if panicked := r.panicked; panicked != nil {
		r.panicked = nil
		panic(panicked)
	}
}

// outcome returns the summary or a *BulkInterrupted. It is called after stop.
func (r *bulkRun) outcome() (*BulkSummary, error) {
	unanswered := r.unanswered.items()
	if r.summary != nil && r.allSent && len(unanswered) == 0 {
		r.summary.ReceivedCount += r.refused
		r.summary.FailedCount += r.refused
		return r.summary, nil
	}
	cause := r.sendErr
	if cause == nil {
		cause = r.receiveErr
	}
	if cause == nil {
		cause = errNoSummary
	}
	return nil, &BulkInterrupted{Unanswered: unanswered, Taken: r.taken, Cause: cause}
}

func (r *bulkRun) send(settings *BulkSettings, items iter.Seq[*BulkItem]) {
	defer close(r.sent)
	returned := false
	defer func() {
		if !returned { // the sequence panicked, or ended its goroutine
			r.panicked = recover()
		}
		if !returned || r.sendErr != nil {
			r.cancel()
		}
	}()
	err := r.sendAll(settings, items)
	if err != io.EOF { // After io.EOF, receive gets the status that ended the stream.
		r.sendErr = err
	}
	returned = true
}

func (r *bulkRun) sendAll(settings *BulkSettings, items iter.Seq[*BulkItem]) error {
	if settings != nil {
		part := &productsearchv1.BulkAddImagesRequest_Settings_{Settings: settings}
		if err := r.stream.Send(&productsearchv1.BulkAddImagesRequest{Part: part}); err != nil {
			return err
		}
	}
	if !r.waitForRoom() {
		return nil
	}
	for item := range items {
		r.taken++
		if err := r.sendItem(item); err != nil {
			return err
		}
		// Wait before the sequence makes its next item, so that none is held beyond the limit.
		if !r.waitForRoom() {
			return nil
		}
	}
	r.allSent = true
	return r.stream.CloseSend()
}

func (r *bulkRun) waitForRoom() bool {
	select {
	case r.room <- struct{}{}:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// sendItem sends an item, or answers it here if the transport would end the whole stream for it.
func (r *bulkRun) sendItem(item *BulkItem) error {
	refusal := refusalOf(item)
	if !r.unanswered.add(item) && refusal == nil {
		refusal = refuse("key", "is that of another item without a result; use it once in a stream")
	}
	if refusal == nil {
		part := &productsearchv1.BulkAddImagesRequest_Item_{Item: item}
		return r.stream.Send(&productsearchv1.BulkAddImagesRequest{Part: part})
	}
	r.refused++
	select {
	case r.results <- &BulkResult{Key: item.GetKey(), Item: item, Err: refusal}:
	case <-r.ctx.Done():
	}
	return nil
}

func (r *bulkRun) receive() {
	defer close(r.received)
	for {
		response, err := r.stream.Recv()
		if err != nil {
			if err != io.EOF {
				r.receiveErr = err
			}
			return
		}
		switch part := response.GetPart().(type) {
		case *productsearchv1.BulkAddImagesResponse_Result:
			select {
			case r.results <- resultOf(part.Result):
			case <-r.ctx.Done():
			}
		case *productsearchv1.BulkAddImagesResponse_Summary_:
			r.summary = part.Summary
			r.drain()
			return
		}
	}
}

// drain reads the stream to its end. A stream that is cancelled before its status has arrived
// counts as failed at the service.
func (r *bulkRun) drain() {
	defer time.AfterFunc(drainTimeout, r.cancel).Stop()
	for {
		if _, err := r.stream.Recv(); err != nil {
			return
		}
	}
}

func resultOf(result *productsearchv1.BulkAddImagesResponse_ItemResult) *BulkResult {
	made := &BulkResult{
		Key:   result.GetKey(),
		Added: result.GetAdded(),
		Err:   FromStatus(result.GetError()),
	}
	if made.Added == nil && made.Err == nil {
		made.Err = &Error{Code: codes.Internal, Message: "the service's result has no outcome"}
	}
	return made
}
