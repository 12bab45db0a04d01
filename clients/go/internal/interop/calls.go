package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

func (c testCase) context() (context.Context, context.CancelFunc) {
	if c.TimeoutS == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), seconds(c.TimeoutS))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func unary(c testCase, targets *targets) (outcome, error) {
	client, err := targets.client(c.Target)
	if err != nil {
		return nil, err
	}
	return call(c, client)
}

func call(c testCase, client *productsearch.Client) (outcome, error) {
	ctx, cancel := c.context()
	defer cancel()
	var response proto.Message
	var err error
	switch c.Method {
	case "AddImage":
		response, err = callOf(ctx, c.Request, &pb.AddImageRequest{}, client.AddImage)
	case "SearchImages":
		response, err = callOf(ctx, c.Request, &pb.SearchImagesRequest{}, client.SearchImages)
	case "UpdateImage":
		response, err = callOf(ctx, c.Request, &pb.UpdateImageRequest{}, client.UpdateImage)
	case "DeleteImage":
		response, err = callOf(ctx, c.Request, &pb.DeleteImageRequest{}, client.DeleteImage)
	case "BatchDeleteImages":
		response, err = callOf(ctx, c.Request, &pb.BatchDeleteImagesRequest{}, client.BatchDeleteImages)
	default:
		return nil, fmt.Errorf("no unary method is called %q", c.Method)
	}
	if err != nil {
		return failed(err)
	}
	return answered(response)
}

func callOf[Request, Response proto.Message](
	ctx context.Context, text json.RawMessage, request Request,
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
) (proto.Message, error) {
	if err := protojson.Unmarshal(text, request); err != nil {
		return nil, err
	}
	return method(ctx, request)
}

func answered(response proto.Message) (outcome, error) {
	text, err := protojson.Marshal(response)
	if err != nil {
		return nil, err
	}
	return outcome{
		"code": "OK", "response": json.RawMessage(text), "message": nil, "reason": nil,
		"retry_delay_s": nil, "upstream_code": nil, "log_id": nil, "cont_sign": nil,
		"field_violations": map[string]string{},
	}, nil
}

// failed returns the outcome of a call that failed, or what is no failure of a call.
func failed(err error) (outcome, error) {
	var failure *productsearch.Error
	if !errors.As(err, &failure) {
		return nil, err
	}
	told := outcome{
		"code": code.Code(failure.Code).String(), "response": nil, "message": failure.Message,
		"reason": reasonOf(failure), "retry_delay_s": nil, "upstream_code": nil, "log_id": nil,
		"cont_sign": nil,
	}
	if delay, ok := failure.RetryDelay(); ok {
		told["retry_delay_s"] = delay.Seconds()
	}
	if failure.UpstreamCode != 0 {
		told["upstream_code"] = failure.UpstreamCode
	}
	if failure.LogID != 0 {
		told["log_id"] = strconv.FormatUint(failure.LogID, 10)
	}
	if failure.ContSign != "" {
		told["cont_sign"] = failure.ContSign
	}
	violations := map[string]string{}
	for _, violation := range failure.FieldViolations {
		violations[violation.Field] = violation.Description
	}
	told["field_violations"] = violations
	return told, nil
}

// reasonOf returns the name of the reason, or nil where the error carries none.
func reasonOf(failure *productsearch.Error) any {
	if failure.ReasonName == "" {
		return nil
	}
	return failure.Reason.String()
}

func pages(c testCase, targets *targets) (outcome, error) {
	client, err := targets.client(c.Target)
	if err != nil {
		return nil, err
	}
	request := &pb.SearchImagesRequest{}
	if err := protojson.Unmarshal(c.Request, request); err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	signs := []string{}
	for result, err := range client.SearchAll(ctx, request) {
		if err != nil {
			return failed(err)
		}
		signs = append(signs, result.GetContSign())
	}
	return outcome{"code": "OK", "signs": signs}, nil
}

// keepalive calls, does nothing for a while, and calls again, on a connection of its own.
func keepalive(c testCase, targets *targets) (outcome, error) {
	client, err := targets.dial(c.Target,
		productsearch.WithKeepalive(seconds(c.IntervalS)), productsearch.WithKeepaliveWithoutCalls())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	first, err := call(c, client)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), seconds(c.Seconds))
	defer cancel()
	disconnected := client.Conn().GetState() != connectivity.Ready ||
		client.Conn().WaitForStateChange(ctx, connectivity.Ready)
	<-ctx.Done()
	last, err := call(c, client)
	if err != nil {
		return nil, err
	}
	return outcome{"first": first["code"], "last": last["code"], "disconnected": disconnected}, nil
}
