package productsearch_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

func Example() {
	address, content := exampleService()

	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	image := productsearch.ImageFromBytes(content, productsearch.Fit)
	found, err := client.SearchImages(context.Background(), &pb.SearchImagesRequest{
		Image:    image,
		PageSize: 5,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.GetResults() {
		fmt.Printf("%.3f %s %s\n", hit.GetScore(), hit.GetContSign(), hit.GetBrief())
	}
	// Output:
	// 1.000 1,1 a red apple
	// 0.750 2,2 a green apple
}

func ExampleError() {
	address, _ := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	request := &pb.AddImageRequest{}

	_, err = client.AddImage(ctx, request)
	var failed *productsearch.Error
	if errors.As(err, &failed) {
		switch failed.Reason {
		case pb.ErrorReason_IMAGE_ALREADY_EXISTS:
			fmt.Println("already there as", failed.ContSign)
		case pb.ErrorReason_FIELD_INVALID:
			for _, violation := range failed.FieldViolations {
				fmt.Println(violation.Field, violation.Description)
			}
		default:
			if delay, ok := failed.RetryDelay(); ok {
				fmt.Println("try again after", delay)
			}
		}
	}
	// Output:
	// new_image missing; set image and brief
}

func ExampleClient() {
	address, content := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	image := productsearch.ImageFromBytes(content, productsearch.Fit)

	added, err := client.AddImage(ctx, &pb.AddImageRequest{NewImage: &pb.NewImage{
		Image:    image,
		Brief:    "a green pear",
		ClassId1: productsearch.ClassID(7),
	}})
	if err != nil {
		log.Fatal(err)
	}
	ref := productsearch.RefBySign(added.GetContSign())
	_, err = client.UpdateImage(ctx, &pb.UpdateImageRequest{
		ImageRef: ref,
		Brief:    productsearch.Brief("a ripe pear"),
		ClassId1: productsearch.ClassID(8),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err = client.DeleteImage(ctx, &pb.DeleteImageRequest{ImageRef: ref}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored, changed and deleted", added.GetContSign())
	// Output:
	// stored, changed and deleted 1,1
}

func ExampleClient_BatchDelete() {
	address, _ := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	signs := []string{"1,1", "9,9"}

	response, err := client.BatchDelete(ctx, &pb.BatchDeleteImagesRequest{ContSigns: signs})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range response.GetResults() {
		if failed := productsearch.FromStatus(result.GetError()); failed != nil {
			fmt.Println(result.GetContSign(), failed.Reason)
		}
	}
	// Output:
	// 9,9 IMAGE_NOT_FOUND
}

func ExampleClient_BulkAdd() {
	address, content := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()

	items := func(yield func(*productsearch.BulkItem) bool) {
		for _, name := range []string{"apple", "pear", ""} {
			item := &productsearch.BulkItem{Key: "key of " + name, NewImage: &pb.NewImage{
				Image: productsearch.ImageFromBytes(content, productsearch.Fit),
				Brief: name,
			}}
			if !yield(item) {
				return
			}
		}
	}
	bulk := client.BulkAdd(ctx, nil, items)
	for result, err := range bulk.Results() {
		if err != nil {
			log.Fatal(err)
		}
		if result.Err != nil {
			fmt.Println(result.Key, "failed:", result.Err.Reason)
			continue
		}
		fmt.Println(result.Key, "added:", result.Added.GetContSign())
	}
	fmt.Println(bulk.Summary().GetAddedCount(), "of", bulk.Summary().GetReceivedCount())
	// Output:
	// key of apple added: 1,1
	// key of pear added: 2,2
	// key of  failed: FIELD_INVALID
	// 2 of 3
}

// addAll adds every item, also while the service is being replaced, until ctx ends.
func addAll(
	ctx context.Context, client *productsearch.Client, items []*productsearch.BulkItem,
	answered func(*productsearch.BulkResult),
) error {
	settings := &productsearch.BulkSettings{DuplicatePolicy: pb.DuplicatePolicy_DUPLICATE_POLICY_KEEP}
	for {
		var failure error
		for result, err := range client.BulkAdd(ctx, settings, slices.Values(items)).Results() {
			if failure = err; err == nil {
				answered(result)
			}
		}
		var interrupted *productsearch.BulkInterrupted
		if !errors.As(failure, &interrupted) || !productsearch.IsRetryable(failure) {
			return failure
		}
		items = slices.Concat(interrupted.Unanswered, items[interrupted.Taken:])
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return failure
		}
	}
}

func ExampleBulkInterrupted() {
	address, _ := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var todo []*productsearch.BulkItem
	for i := range 100 {
		todo = append(todo, &productsearch.BulkItem{
			Key:      fmt.Sprint(i),
			NewImage: &pb.NewImage{Brief: "drain once"},
		})
	}

	count := 0
	err = addAll(context.Background(), client, todo, func(*productsearch.BulkResult) { count++ })
	fmt.Println(count, err)
	// Output:
	// 100 <nil>
}

func ExampleClient_SearchAll() {
	address, content := exampleService()
	client, err := productsearch.Connect(address)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	image := productsearch.ImageFromBytes(content, productsearch.Fit)

	for hit, err := range client.SearchAll(ctx, &pb.SearchImagesRequest{Image: image}) {
		if err != nil {
			log.Fatal(err)
		}
		if hit.GetScore() < 0.8 {
			break
		}
		fmt.Println(hit.GetContSign(), hit.GetBrief())
	}
	// Output:
	// 1,1 a red apple
}

func ExampleWithTLS() {
	client, err := productsearch.Connect("search.example:443",
		productsearch.WithTLS(productsearch.TLSFiles{}),
		productsearch.WithToken(os.Getenv("PRODUCTSEARCH_TOKEN")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	// Output:
	// productsearch: the token is empty, or has characters that no header can hold
}

func ExampleTLSFiles() {
	client, err := productsearch.Connect("search.example:443", productsearch.WithTLS(
		productsearch.TLSFiles{CA: "ca.pem", Cert: "caller.pem", Key: "caller.key"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	// Output:
	// productsearch: CA: open ca.pem: no such file or directory
}

func ExampleWithKeepalive() {
	client, err := productsearch.Connect("127.0.0.1:50051",
		productsearch.WithKeepalive(20*time.Second), productsearch.WithKeepaliveWithoutCalls())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Println(client.Conn().Target())
	// Output:
	// 127.0.0.1:50051
}
