package productsearch_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// The functions make what one would write by hand.
func TestMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.jpg")
	if err := os.WriteFile(path, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := productsearch.ImageFromFile(path, productsearch.Fit)
	if err != nil {
		t.Fatal(err)
	}
	content := &pb.ImageSource_Content{Content: []byte("image")}
	sign := &pb.ImageRef_ContSign{ContSign: "1,2"}
	for _, pair := range [][2]proto.Message{
		{&pb.ImageSource{Source: content, Fit: true}, read},
		{&pb.ImageSource{Source: content}, productsearch.ImageFromBytes([]byte("image"))},
		{&pb.ImageSource{Source: &pb.ImageSource_Url{Url: "https://a/b"}}, productsearch.ImageFromURL("https://a/b")},
		{&pb.ImageRef{Ref: sign}, productsearch.RefBySign("1,2")},
		{&pb.ImageRef{Ref: &pb.ImageRef_Image{Image: read}}, productsearch.RefByImage(read)},
		{
			&pb.UpdateImageRequest{Brief: proto.String("b"), ClassId1: proto.Int32(7)},
			&pb.UpdateImageRequest{Brief: productsearch.Brief("b"), ClassId1: productsearch.ClassID(7)},
		},
	} {
		if !proto.Equal(pair[0], pair[1]) {
			t.Errorf("%v, want %v", pair[1], pair[0])
		}
	}
	if _, err := productsearch.ImageFromFile(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
