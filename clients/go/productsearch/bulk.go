package productsearch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// Names of the generated messages without the stub's prefix.
type (
	// BulkSettings apply to all items of a bulk add.
	BulkSettings = productsearchv1.BulkAddImagesRequest_Settings
	// BulkItem is one image to store, under a key of the caller's.
	BulkItem = productsearchv1.BulkAddImagesRequest_Item
	// BulkSummary counts the items by outcome.
	BulkSummary = productsearchv1.BulkAddImagesResponse_Summary
)

// BulkResult is the outcome of one item. Either Added or Err is set.
type BulkResult struct {
	// Key is the item's.
	Key string
	// Item is the one that was sent; nil if no unanswered item has this key.
	Item *BulkItem
	// Added is what AddImage would have answered.
	Added *productsearchv1.AddImageResponse
	// Err is what AddImage would have failed with.
	Err *Error
}

// BulkInterrupted is the error of a bulk add that ended before all items had a result. Send the
// Unanswered ones again with DUPLICATE_POLICY_KEEP, and with them what was not taken yet.
type BulkInterrupted struct {
	// Unanswered are the items that were taken from the sequence and have no result, in the
	// order in which they were taken. Some of them may be stored.
	Unanswered []*BulkItem
	// Taken is how many items were taken from the sequence, answered or not.
	Taken int
	// Cause is the *Error that ended the stream. IsRetryable says whether a new stream can succeed.
	Cause error
}

// Error returns how many items wait for a result, and why.
func (e *BulkInterrupted) Error() string {
	return fmt.Sprintf("productsearch: bulk add interrupted with %d of %d items unanswered: %v",
		len(e.Unanswered), e.Taken, e.Cause)
}

// Unwrap returns the cause, for errors.As.
func (e *BulkInterrupted) Unwrap() error { return e.Cause }

// Bulk is one bulk add; range over its Results.
type Bulk struct {
	client   *Client
	ctx      context.Context
	settings *BulkSettings
	items    iter.Seq[*BulkItem]
	started  atomic.Bool
	summary  *BulkSummary
}

// BulkAdd stores the images of items. Nothing happens until its Results are ranged over.
//
// The service answers in the order of completion; settings may be nil. Items are taken from the
// sequence only as fast as the service takes them, with at most 64 sent and unanswered: these
// are held in memory. The sequence runs in a goroutine of its own, one item at a time, and has
// ended when the loop over the results has. The loop cannot end while the sequence waits for its
// next item, so a sequence that can wait for long should watch ctx.
func (c *Client) BulkAdd(ctx context.Context, settings *BulkSettings, items iter.Seq[*BulkItem]) *Bulk {
	return &Bulk{client: c, ctx: ctx, settings: settings, items: items}
}

// Summary returns the counts of a bulk add that was completed; nil before its end.
func (b *Bulk) Summary() *BulkSummary { return b.summary }

// Results sends the items and yields the result of each, in the order of completion. If the
// stream ends early, the last value is a *BulkInterrupted. Leaving the loop early cancels the
// stream. Results can be ranged over once.
func (b *Bulk) Results() iter.Seq2[*BulkResult, error] {
	return func(yield func(*BulkResult, error) bool) {
		if !b.started.CompareAndSwap(false, true) {
			yield(nil, errors.New("productsearch: a bulk add runs once; call BulkAdd again"))
			return
		}
		run, err := startBulk(b.ctx, b.client, b.settings, b.items)
		if err != nil {
			yield(nil, &BulkInterrupted{Cause: err})
			return
		}
		defer run.stop()
		for result := range run.all() {
			if !yield(result, nil) {
				return
			}
		}
		run.stop()
		if b.summary, err = run.outcome(); err != nil {
			yield(nil, err)
		}
	}
}
