// Command istio reads Kubernetes resources as JSON from standard input and decodes those of Istio
// into Istio's own types: a field that does not exist, or has the wrong type, fails.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1"
	security "istio.io/api/security/v1"
)

var kinds = map[string]func() proto.Message{
	"networking.istio.io/v1/VirtualService":    func() proto.Message { return new(networking.VirtualService) },
	"networking.istio.io/v1/DestinationRule":   func() proto.Message { return new(networking.DestinationRule) },
	"security.istio.io/v1/PeerAuthentication":  func() proto.Message { return new(security.PeerAuthentication) },
	"security.istio.io/v1/AuthorizationPolicy": func() proto.Message { return new(security.AuthorizationPolicy) },
}

type resource struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

func main() {
	failed := false
	for decoder := json.NewDecoder(os.Stdin); ; {
		var found resource
		err := decoder.Decode(&found)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		message, known := kinds[found.APIVersion+"/"+found.Kind]
		if !known {
			continue
		}
		// Istio's own UnmarshalJSON lets unknown fields pass.
		if err := protojson.Unmarshal(found.Spec, message()); err != nil {
			fmt.Fprintf(os.Stderr, "%s %s: %v\n", found.Kind, found.Metadata.Name, err)
			failed = true
			continue
		}
		fmt.Println(found.Kind, found.Metadata.Name)
	}
	if failed {
		os.Exit(1)
	}
}
