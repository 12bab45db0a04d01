package productsearch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

func items(keys ...string) iter.Seq[*productsearch.BulkItem] {
	return func(yield func(*productsearch.BulkItem) bool) {
		for _, key := range keys {
			if !yield(&productsearch.BulkItem{Key: key}) {
				return
			}
		}
	}
}

func numbered(count int) []string {
	var keys []string
	for i := range count {
		keys = append(keys, fmt.Sprint(i))
	}
	return keys
}

func keysOf(items []*productsearch.BulkItem) []string {
	var keys []string
	for _, item := range items {
		keys = append(keys, item.GetKey())
	}
	return keys
}

func added(key string) *pb.BulkAddImagesResponse {
	return answer(&pb.BulkAddImagesResponse_ItemResult{
		Key: key,
		Outcome: &pb.BulkAddImagesResponse_ItemResult_Added{
			Added: &pb.AddImageResponse{ContSign: "sign of " + key},
		},
	})
}

func answer(result *pb.BulkAddImagesResponse_ItemResult) *pb.BulkAddImagesResponse {
	return &pb.BulkAddImagesResponse{Part: &pb.BulkAddImagesResponse_Result{Result: result}}
}

func summary(added, failed int64) *pb.BulkAddImagesResponse {
	return &pb.BulkAddImagesResponse{Part: &pb.BulkAddImagesResponse_Summary_{
		Summary: &productsearch.BulkSummary{
			ReceivedCount: added + failed, AddedCount: added, FailedCount: failed,
		},
	}}
}

// take reads one item; ok is false at the end of the stream.
func take(stream bulkServer) (key string, ok bool) {
	request, err := stream.Recv()
	return request.GetItem().GetKey(), err == nil
}

func send(t *testing.T, stream bulkServer, responses ...*pb.BulkAddImagesResponse) {
	for _, response := range responses {
		if err := stream.Send(response); err != nil {
			t.Error(err)
		}
	}
}

// echo adds every item at once, and ends with the summary.
func echo(stream bulkServer) error {
	count := int64(0)
	for {
		key, ok := take(stream)
		if !ok {
			return stream.Send(summary(count, 0))
		}
		count++
		if err := stream.Send(added(key)); err != nil {
			return err
		}
	}
}

// outcome is what a loop over the results of a bulk add saw.
type outcome struct {
	results []*productsearch.BulkResult
	err     error
}

func run(bulk *productsearch.Bulk) outcome {
	var seen outcome
	for result, err := range bulk.Results() {
		if err != nil {
			seen.err = errors.Join(seen.err, err)
			continue
		}
		seen.results = append(seen.results, result)
	}
	return seen
}

func (o outcome) keys() []string {
	var keys []string
	for _, result := range o.results {
		keys = append(keys, result.Key)
	}
	return keys
}

func interruption(t *testing.T, err error) *productsearch.BulkInterrupted {
	t.Helper()
	var interrupted *productsearch.BulkInterrupted
	if !errors.As(err, &interrupted) {
		t.Fatalf("want a BulkInterrupted, got %v", err)
	}
	return interrupted
}

// Results come in the service's order, each with its item, and the summary is there at the end.
func TestBulkYieldsInOrderOfCompletion(t *testing.T) {
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		first, err := stream.Recv()
		if err != nil || first.GetSettings().GetLibrary() != "shoes" {
			t.Errorf("first message %v, %v", first, err)
		}
		for range 3 {
			take(stream)
		}
		failed := &pb.BulkAddImagesResponse_ItemResult{
			Key: "b",
			Outcome: &pb.BulkAddImagesResponse_ItemResult_Error{
				Error: failure(codes.NotFound, pb.ErrorReason_LIBRARY_UNKNOWN),
			},
		}
		send(t, stream, added("c"), answer(failed), added("a"), summary(2, 1))
		return nil
	}})
	settings := &productsearch.BulkSettings{Library: "shoes"}
	bulk := client.BulkAdd(within(t), settings, items("a", "b", "c"))
	if bulk.Summary() != nil {
		t.Error("a summary before the end")
	}
	seen := run(bulk)
	if seen.err != nil {
		t.Fatal(seen.err)
	}
	if want := []string{"c", "b", "a"}; !slices.Equal(want, seen.keys()) {
		t.Errorf("keys %v", seen.keys())
	}
	for _, result := range seen.results {
		if result.Item.GetKey() != result.Key || (result.Added == nil) == (result.Err == nil) {
			t.Errorf("%+v", result)
		}
	}
	if got := seen.results[0].Added.GetContSign(); got != "sign of c" {
		t.Errorf("signature %q", got)
	}
	if got := seen.results[1].Err.Reason; got != pb.ErrorReason_LIBRARY_UNKNOWN {
		t.Errorf("reason %s", got)
	}
	if got := bulk.Summary(); got.GetReceivedCount() != 3 || got.GetFailedCount() != 1 {
		t.Errorf("summary %v", got)
	}
}

// At most 64 items are unanswered, and 64 are, if the service is slow.
func TestBulkHoldsItemsBack(t *testing.T) {
	const count = 1000
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		arrived := make(chan string)
		go func() {
			defer close(arrived)
			for key, ok := take(stream); ok; key, ok = take(stream) {
				arrived <- key
			}
		}()
		// An answer is sent only where 64 wait for one, or no more come.
		var waiting []string
		answered := 0
		for key := range arrived {
			waiting = append(waiting, key)
			if len(waiting) > 64 {
				t.Errorf("%d unanswered", len(waiting))
			}
			if len(waiting) == 64 || answered+len(waiting) == count {
				answered++
				send(t, stream, added(waiting[0]))
				waiting = waiting[1:]
			}
		}
		for _, key := range waiting {
			send(t, stream, added(key))
		}
		return stream.Send(summary(count, 0))
	}})
	seen := run(client.BulkAdd(within(t), nil, items(numbered(count)...)))
	if seen.err != nil {
		t.Fatal(seen.err)
	}
	if !slices.Equal(numbered(count), seen.keys()) {
		t.Errorf("%d results", len(seen.results))
	}
}

// The sequence is not asked for an item that there is no room for.
func TestBulkTakesNoItemWithoutRoom(t *testing.T) {
	bulkCtx, cancel := context.WithCancel(within(t))
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		for range 64 {
			take(stream)
		}
		cancel()
		<-stream.Context().Done()
		return nil
	}})
	made := 0
	seen := run(client.BulkAdd(bulkCtx, nil, func(yield func(*productsearch.BulkItem) bool) {
		for {
			made++
			if !yield(&productsearch.BulkItem{Key: fmt.Sprint(made)}) {
				return
			}
		}
	}))
	interrupted := interruption(t, seen.err)
	if made != 64 || interrupted.Taken != 64 || len(interrupted.Unanswered) != 64 {
		t.Errorf("%d made, %d taken, %d unanswered", made, interrupted.Taken, len(interrupted.Unanswered))
	}
}

// A service that does not read holds the sequence back, long before there are 64 items.
func TestBulkTakesWhatTheStreamTakes(t *testing.T) {
	const count, tooMany = 20, 5
	tooFar := make(chan struct{})
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		key, _ := take(stream)
		select {
		case <-tooFar:
			t.Error("large items are taken and not sent")
		case <-time.After(200 * time.Millisecond): // long enough to go too far
		}
		send(t, stream, added(key))
		return echo(stream)
	}})
	seen := run(client.BulkAdd(within(t), nil, func(yield func(*productsearch.BulkItem) bool) {
		for i := range count {
			if i == tooMany {
				close(tooFar)
			}
			large := &pb.NewImage{Image: image(make([]byte, 1<<20))}
			if !yield(&productsearch.BulkItem{Key: fmt.Sprint(i), NewImage: large}) {
				return
			}
		}
	}))
	if seen.err != nil || len(seen.results) != count {
		t.Errorf("%d results, %v", len(seen.results), seen.err)
	}
}

// A loop that is left early ends the sequence and the stream, and leaves no goroutine behind.
func TestBulkEndsWithTheLoop(t *testing.T) {
	ended := make(chan error, 100)
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		err := echo(stream)
		ended <- err
		return err
	}})
	warm := run(client.BulkAdd(within(t), nil, items("a")))
	if warm.err != nil {
		t.Fatal(warm.err)
	}
	<-ended
	before := runtime.NumGoroutine()
	for range 20 {
		running := true
		endless := func(yield func(*productsearch.BulkItem) bool) {
			defer func() { running = false }()
			for i := 0; yield(&productsearch.BulkItem{Key: fmt.Sprint(i)}); i++ {
			}
		}
		count := 0
		for _, err := range client.BulkAdd(within(t), nil, endless).Results() {
			if err != nil {
				t.Error(err)
			}
			if count++; count == 10 {
				break
			}
		}
		if running {
			t.Error("the sequence goes on after the loop")
		}
		if err := <-ended; err == nil {
			t.Error("the stream was carried through")
		}
	}
	noMoreGoroutines(t, before)
}

// A drained service names the cause; what has no result, and what was not taken, can be sent
// again, and then every item has one.
func TestBulkInterruptedCanBeResumed(t *testing.T) {
	streams := 0
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		if streams++; streams > 1 {
			return echo(stream)
		}
		for i := range 30 {
			if key, _ := take(stream); i%3 == 0 {
				send(t, stream, added(key))
			}
		}
		return asError(failure(codes.Unavailable, pb.ErrorReason_SERVER_DRAINING))
	}})
	todo := slices.Collect(items(numbered(200)...))
	results := map[string]int{}
	for attempt := 0; len(todo) > 0; attempt++ {
		seen := run(client.BulkAdd(within(t), nil, slices.Values(todo)))
		for _, key := range seen.keys() {
			results[key]++
		}
		if seen.err == nil {
			break
		}
		if attempt > 0 {
			t.Fatal(seen.err)
		}
		interrupted := interruption(t, seen.err)
		if got := caught(t, seen.err).Reason; got != pb.ErrorReason_SERVER_DRAINING {
			t.Errorf("reason %s", got)
		}
		if got := len(interrupted.Unanswered) + len(seen.results); got != interrupted.Taken {
			t.Errorf("%d of %d items accounted for", got, interrupted.Taken)
		}
		if !slices.IsSortedFunc(interrupted.Unanswered, byNumber) {
			t.Errorf("unanswered out of order: %v", keysOf(interrupted.Unanswered))
		}
		todo = slices.Concat(interrupted.Unanswered, todo[interrupted.Taken:])
	}
	for _, key := range numbered(200) {
		if results[key] != 1 {
			t.Errorf("item %s has %d results", key, results[key])
		}
	}
}

func byNumber(a, b *productsearch.BulkItem) int {
	if len(a.Key) != len(b.Key) {
		return len(a.Key) - len(b.Key)
	}
	return slices.Compare([]byte(a.Key), []byte(b.Key))
}

// However a stream ends without having been carried through, the loop ends with an
// interruption that holds what has no result, and no goroutine stays.
func TestBulkNeverEndsSilently(t *testing.T) {
	for name, end := range map[string]struct {
		bulk func(bulkServer) error
		code codes.Code
	}{
		"without a summary":  {func(s bulkServer) error { return nil }, codes.OK},
		"an early summary":   {func(s bulkServer) error { return s.Send(summary(1, 0)) }, codes.OK},
		"cut by a fault":     {func(s bulkServer) error { return io.ErrUnexpectedEOF }, codes.Unknown},
		"refused as a whole": {func(s bulkServer) error { return asError(failure(codes.NotFound, 9)) }, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, &service{bulk: func(stream bulkServer) error {
				for range 3 {
					take(stream)
				}
				send(t, stream, added("1"))
				return end.bulk(stream)
			}})
			bulk := client.BulkAdd(within(t), nil, items("0", "1", "2"))
			seen := run(bulk)
			interrupted := interruption(t, seen.err)
			if want := []string{"0", "2"}; !slices.Equal(want, keysOf(interrupted.Unanswered)) {
				t.Errorf("unanswered %v", keysOf(interrupted.Unanswered))
			}
			if interrupted.Taken != 3 || bulk.Summary() != nil {
				t.Errorf("%d taken, summary %v", interrupted.Taken, bulk.Summary())
			}
			if end.code != codes.OK && caught(t, seen.err).Code != end.code {
				t.Errorf("cause %v, want %s", interrupted.Cause, end.code)
			}
		})
	}
}

// A connection that breaks, and a context that ends, are interruptions like others.
func TestBulkLosesItsConnection(t *testing.T) {
	arrived := make(chan struct{}, 1)
	silent := &service{bulk: func(stream bulkServer) error {
		take(stream)
		arrived <- struct{}{}
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
	server, address := serve(t, silent)
	client := connect(t, address)
	go func() { <-arrived; server.Stop() }()
	seen := run(client.BulkAdd(within(t), nil, items("a")))
	if got := keysOf(interruption(t, seen.err).Unanswered); !slices.Equal([]string{"a"}, got) {
		t.Errorf("unanswered %v", got)
	}
	if got := caught(t, seen.err).Code; got != codes.Unavailable {
		t.Errorf("code %s", got)
	}

	ctx, cancel := context.WithCancel(within(t))
	go func() { <-arrived; cancel() }()
	seen = run(dial(t, silent).BulkAdd(ctx, nil, items("a")))
	if !errors.Is(seen.err, context.Canceled) || interruption(t, seen.err).Taken != 1 {
		t.Errorf("%v", seen.err)
	}
}

// Answers that make no sense neither hide a result nor make room for one.
func TestBulkPassesStrangeAnswersOn(t *testing.T) {
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		take(stream)
		send(t, stream, added("nobody's"), added("a"), added("a"),
			answer(&pb.BulkAddImagesResponse_ItemResult{Key: "x"}), &pb.BulkAddImagesResponse{})
		return echo(stream)
	}})
	seen := run(client.BulkAdd(within(t), nil, items(append([]string{"a"}, numbered(100)...)...)))
	if seen.err != nil {
		t.Fatal(seen.err)
	}
	if want := []string{"nobody's", "a", "a", "x"}; !slices.Equal(want, seen.keys()[:4]) {
		t.Errorf("keys %v", seen.keys())
	}
	if seen.results[0].Item != nil || seen.results[1].Item == nil || seen.results[2].Item != nil {
		t.Error("a result has an item that is not its own")
	}
	if got := seen.results[3].Err.Code; got != codes.Internal {
		t.Errorf("a result without an outcome: %s", got)
	}
	if len(seen.results) != 104 {
		t.Errorf("%d results", len(seen.results))
	}
}

// An item that the transport cannot carry is answered like any wrong one, more of them than
// there is room for too; the others are stored, and the summary counts both.
func TestBulkAnswersUnsendableItemsItself(t *testing.T) {
	client := dial(t, &service{bulk: echo})
	field := map[string]string{}
	mixed := func(yield func(*productsearch.BulkItem) bool) {
		for i := range 300 {
			item := &productsearch.BulkItem{Key: fmt.Sprint(i), NewImage: &pb.NewImage{}}
			switch {
			case i == 7:
				item.NewImage.Image = image(make([]byte, 22<<20))
				field[item.Key] = "new_image.image.content"
			case i%10 != 0:
				item.NewImage.Brief = "\xff"
				field[item.Key] = "new_image.brief"
			}
			if !yield(item) {
				return
			}
		}
	}
	bulk := client.BulkAdd(within(t), nil, mixed)
	seen := run(bulk)
	if seen.err != nil {
		t.Fatal(seen.err)
	}
	refused := map[string]string{}
	for _, result := range seen.results {
		if result.Err != nil {
			refused[result.Key] = result.Err.FieldViolations[0].Field
		}
	}
	if !maps.Equal(field, refused) {
		t.Errorf("refused %v, want %v", refused, field)
	}
	got := bulk.Summary()
	if got.GetReceivedCount() != 300 || got.GetAddedCount() != 30 || got.GetFailedCount() != 270 {
		t.Errorf("summary %v", got)
	}
}

// A key that is in use is refused under its name, and the first item's result is not touched.
func TestBulkRefusesAKeyInUse(t *testing.T) {
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		key, _ := take(stream)
		take(stream) // the end: the second item is not sent
		send(t, stream, added(key), summary(1, 0))
		return nil
	}})
	both := slices.Collect(items("a", "a"))
	seen := run(client.BulkAdd(within(t), nil, slices.Values(both)))
	if seen.err != nil {
		t.Fatal(seen.err)
	}
	if len(seen.results) != 2 || seen.results[0].Err == nil || seen.results[1].Added == nil {
		t.Fatalf("%v", seen.results)
	}
	if got := seen.results[0].Err.FieldViolations[0].Field; got != "key" {
		t.Errorf("field %q", got)
	}
	if seen.results[0].Item != both[1] || seen.results[1].Item != both[0] {
		t.Error("a result has the other's item")
	}
}

// Settings that cannot be sent stop it before anything is taken.
func TestBulkChecksItsSettings(t *testing.T) {
	client := dial(t, &service{bulk: echo})
	settings := &productsearch.BulkSettings{Library: "\xff"}
	seen := run(client.BulkAdd(within(t), settings, items("a")))
	if got := caught(t, seen.err).FieldViolations; len(got) != 1 || got[0].Field != "library" {
		t.Errorf("violations %v", got)
	}
	if got := interruption(t, seen.err).Taken; got != 0 {
		t.Errorf("%d taken", got)
	}
}

// What the sequence panics with arrives where the loop can recover it; a sequence that ends its
// goroutine ends the bulk add.
func TestBulkSurvivesItsSequence(t *testing.T) {
	client := dial(t, &service{bulk: echo})
	func() {
		defer func() {
			if got := recover(); got != "out of images" {
				t.Errorf("recovered %v", got)
			}
		}()
		run(client.BulkAdd(within(t), nil, func(yield func(*productsearch.BulkItem) bool) {
			yield(&productsearch.BulkItem{Key: "a"})
			panic("out of images")
		}))
		t.Error("no panic")
	}()
	seen := run(client.BulkAdd(within(t), nil, func(func(*productsearch.BulkItem) bool) {
		runtime.Goexit()
	}))
	if got := interruption(t, seen.err).Taken; got != 0 {
		t.Errorf("%d taken", got)
	}
}

// A summary that comes before the sequence has ended does not pass for the whole.
func TestBulkIsNotOverBeforeItsSequence(t *testing.T) {
	ended := make(chan struct{})
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		defer close(ended)
		key, _ := take(stream)
		send(t, stream, added(key), summary(1, 0))
		return nil
	}})
	seen := run(client.BulkAdd(within(t), nil, func(yield func(*productsearch.BulkItem) bool) {
		yield(&productsearch.BulkItem{Key: "a"})
		<-ended
		time.Sleep(100 * time.Millisecond) // until the summary has arrived, most likely
		runtime.Goexit()
	}))
	if got := interruption(t, seen.err); got.Taken != 1 || len(seen.results) != 1 {
		t.Errorf("%v", got)
	}
}

// After the summary the service may end the stream in peace.
func TestBulkLetsTheStreamEnd(t *testing.T) {
	ended := make(chan struct{})
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		defer close(ended)
		err := echo(stream)
		select {
		case <-time.After(100 * time.Millisecond): // long enough for a cancellation to arrive
		case <-stream.Context().Done():
			t.Error("cancelled after the summary")
		}
		return err
	}})
	if seen := run(client.BulkAdd(within(t), nil, items("a"))); seen.err != nil {
		t.Error(seen.err)
	}
	<-ended
}

// A service that does not end the stream after the summary does not keep the loop.
func TestBulkLeavesALingeringStream(t *testing.T) {
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		err := echo(stream)
		<-stream.Context().Done()
		return err
	}})
	ctx := within(t)
	seen := run(client.BulkAdd(ctx, nil, items("a")))
	if seen.err != nil || ctx.Err() != nil {
		t.Errorf("%v, %v", seen.err, ctx.Err())
	}
}

// A bulk add runs once; a second loop is told so and sends nothing.
func TestBulkRunsOnce(t *testing.T) {
	streams := 0
	client := dial(t, &service{bulk: func(stream bulkServer) error {
		streams++
		return echo(stream)
	}})
	bulk := client.BulkAdd(within(t), nil, items("a"))
	if seen := run(bulk); seen.err != nil {
		t.Fatal(seen.err)
	}
	if seen := run(bulk); seen.err == nil || len(seen.results) > 0 {
		t.Errorf("second loop: %+v", seen)
	}
	if streams != 1 || bulk.Summary().GetAddedCount() != 1 {
		t.Errorf("%d streams, summary %v", streams, bulk.Summary())
	}
}
