// Quickstart adds an image, finds it again, and reads what an error says.
//
// Run: go run ./examples/quickstart -address 127.0.0.1:50051 -image image.jpg
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

func main() {
	address := flag.String("address", "127.0.0.1:50051", "host:port of the service")
	image := flag.String("image", "image.jpg", "file with the image")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *address, *image); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, address, file string) error {
	image, err := productsearch.ImageFromFile(file, productsearch.Fit)
	if err != nil {
		return err
	}
	client, err := productsearch.Connect(address)
	if err != nil {
		return err
	}
	defer client.Close()

	added, err := client.AddImage(ctx, &pb.AddImageRequest{
		NewImage: &pb.NewImage{Image: image, Brief: "a red apple"},
	})
	var failed *productsearch.Error
	switch {
	case err == nil:
		fmt.Fprintln(out, "added", added.GetContSign())
	case errors.As(err, &failed) && failed.Reason == pb.ErrorReason_IMAGE_ALREADY_EXISTS:
		fmt.Fprintln(out, "already there as", failed.ContSign)
	default:
		return err
	}

	found, err := client.SearchImages(ctx, &pb.SearchImagesRequest{Image: image, PageSize: 5})
	if err != nil {
		return err
	}
	for _, hit := range found.GetResults() {
		fmt.Fprintf(out, "%.3f %s %s\n", hit.GetScore(), hit.GetContSign(), hit.GetBrief())
	}
	return nil
}
