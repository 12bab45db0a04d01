package productsearch

import (
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// ImageOption changes an image that was made of a file or of bytes.
type ImageOption func(*productsearchv1.ImageSource)

// Fit lets the service bring an image inside the upstream's limits: upright, scaled, transcoded,
// compressed. See ImageSource.Fit.
func Fit(image *productsearchv1.ImageSource) { image.Fit = true }

// ImageFromFile returns the image of a file, read now.
func ImageFromFile(path string, options ...ImageOption) (*productsearchv1.ImageSource, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ImageFromBytes(content, options...), nil
}

// ImageFromBytes returns an image of the bytes of an image file.
func ImageFromBytes(content []byte, options ...ImageOption) *productsearchv1.ImageSource {
	image := &productsearchv1.ImageSource{
		Source: &productsearchv1.ImageSource_Content{Content: content},
	}
	for _, option := range options {
		option(image)
	}
	return image
}

// ImageFromURL returns the image behind an http or https address; the upstream downloads it.
func ImageFromURL(url string) *productsearchv1.ImageSource {
	return &productsearchv1.ImageSource{Source: &productsearchv1.ImageSource_Url{Url: url}}
}

// RefBySign returns the reference of a stored image by its signature, such as "12345,67890".
func RefBySign(contSign string) *productsearchv1.ImageRef {
	return &productsearchv1.ImageRef{Ref: &productsearchv1.ImageRef_ContSign{ContSign: contSign}}
}

// RefByImage returns the reference of a stored image by the very image that was added.
func RefByImage(image *productsearchv1.ImageSource) *productsearchv1.ImageRef {
	return &productsearchv1.ImageRef{Ref: &productsearchv1.ImageRef_Image{Image: image}}
}

// ClassID returns a class id, 1 to 65535, for the fields that can be unset: ClassId1, ClassId2.
func ClassID(id int32) *int32 { return proto.Int32(id) }

// Brief returns a brief for UpdateImageRequest, where it can be unset.
func Brief(text string) *string { return proto.String(text) }
