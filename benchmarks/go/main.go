// A gRPC facade in Go as one would write it: AddImage alone, with a token that is given.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"

	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type facade struct {
	pb.UnimplementedProductSearchServer
	client *http.Client
	url    string
}

func (f *facade) AddImage(ctx context.Context, in *pb.AddImageRequest) (*pb.AddImageResponse, error) {
	body := bytes.NewReader(form(in.GetNewImage().GetImage().GetContent(), in.GetNewImage().GetBrief()))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, body)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := f.client.Do(request)
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the upstream cannot be reached")
	}
	defer answer.Body.Close()
	var added struct {
		ContSign  string `json:"cont_sign"`
		LogID     uint64 `json:"log_id"`
		ErrorCode int    `json:"error_code"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&added); err != nil || added.ErrorCode != 0 {
		return nil, status.Errorf(codes.Unknown, "the upstream answered with error %d", added.ErrorCode)
	}
	return &pb.AddImageResponse{
		ContSign: added.ContSign, LogId: added.LogID, Outcome: pb.AddOutcome_ADD_OUTCOME_CREATED,
	}, nil
}

// form returns the body of an add: base64, with the three characters escaped that a form does not carry.
func form(image []byte, brief string) []byte {
	body := append(make([]byte, 0, len(image)*3/2+len(brief)*3), "image="...)
	for _, character := range []byte(base64.StdEncoding.EncodeToString(image)) {
		switch character {
		case '+':
			body = append(body, "%2B"...)
		case '/':
			body = append(body, "%2F"...)
		case '=':
			body = append(body, "%3D"...)
		default:
			body = append(body, character)
		}
	}
	return append(body, "&brief="+url.QueryEscape(brief)...)
}

func main() {
	upstream := flag.String("upstream", "", "base URL of the upstream")
	token := flag.String("token", "24.0123456789abcdef0123456789abcdef.2592000.1900000000.282335-1", "access token")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(6 << 20))
	pb.RegisterProductSearchServer(server, &facade{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		url:    *upstream + "/rest/2.0/image-classify/v1/realtime_search/product/add?access_token=" + *token,
	})
	fmt.Println("listening on", listener.Addr())
	log.Fatal(server.Serve(listener))
}
