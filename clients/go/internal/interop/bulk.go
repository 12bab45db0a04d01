package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/productsearch/productsearch/clients/go/productsearch"
	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// bulkCase is what the three kinds of bulk cases share.
type bulkCase struct {
	client   *productsearch.Client
	settings *productsearch.BulkSettings // nil where the case has none
	items    []*productsearch.BulkItem
}

func readBulk(c testCase, targets *targets) (*bulkCase, error) {
	client, err := targets.client(c.Target)
	if err != nil {
		return nil, err
	}
	read := &bulkCase{client: client}
	if c.Settings != nil {
		read.settings = &productsearch.BulkSettings{}
		if err := protojson.Unmarshal(c.Settings, read.settings); err != nil {
			return nil, err
		}
	}
	for _, text := range c.Items {
		item := &productsearch.BulkItem{}
		if err := protojson.Unmarshal(text, item); err != nil {
			return nil, err
		}
		read.items = append(read.items, item)
	}
	return read, nil
}

// answers notes the results of a bulk add.
type answers struct {
	results    map[string]outcome
	counts     map[string]int
	places     map[string]int
	last       int
	outOfOrder bool
	failed     int
}

func answersTo(items []*productsearch.BulkItem) *answers {
	a := &answers{results: map[string]outcome{}, counts: map[string]int{}, places: map[string]int{}}
	for place, item := range items {
		a.places[item.GetKey()] = place
	}
	return a
}

func (a *answers) note(result *productsearch.BulkResult) error {
	told, err := outcome(nil), error(nil)
	if result.Err != nil {
		a.failed++
		told, err = failed(result.Err)
	} else {
		told, err = answered(result.Added)
	}
	if err != nil {
		return err
	}
	a.results[result.Key] = told
	a.counts[result.Key]++
	place := a.places[result.Key]
	a.outOfOrder = a.outOfOrder || place < a.last
	a.last = max(a.last, place)
	return nil
}

func bulk(c testCase, targets *targets) (outcome, error) {
	read, err := readBulk(c, targets)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	answers := answersTo(read.items)
	run := read.client.BulkAdd(ctx, read.settings, slices.Values(read.items))
	for result, err := range run.Results() {
		if err != nil {
			return failed(err)
		}
		if err := answers.note(result); err != nil {
			return nil, err
		}
	}
	summary, err := protojson.Marshal(run.Summary())
	if err != nil {
		return nil, err
	}
	most := 0
	for _, count := range answers.counts {
		most = max(most, count)
	}
	return outcome{
		"code": "OK", "results": answers.results, "answers_max": most,
		"out_of_order": answers.outOfOrder, "summary": json.RawMessage(summary),
	}, nil
}

func bulkCancel(c testCase, targets *targets) (outcome, error) {
	read, err := readBulk(c, targets)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	count := 0
	code := any("OK")
	for _, err := range read.client.BulkAdd(ctx, read.settings, endlessly(read.items)).Results() {
		if err != nil {
			told, err := failed(err)
			if err != nil {
				return nil, err
			}
			code = told["code"]
			continue
		}
		if count++; count == c.After {
			cancel()
		}
	}
	then, err := unary(*c.Then, targets)
	if err != nil {
		return nil, err
	}
	return outcome{"code": code, "enough": count >= c.After, "after_cancel": then}, nil
}

// endlessly yields the items again and again, each time under another key.
func endlessly(items []*productsearch.BulkItem) iter.Seq[*productsearch.BulkItem] {
	return func(yield func(*productsearch.BulkItem) bool) {
		for number := 0; ; number++ {
			item := proto.CloneOf(items[number%len(items)])
			item.Key += fmt.Sprint(number)
			if !yield(item) {
				return
			}
		}
	}
}

func bulkDrain(c testCase, targets *targets, control string) (outcome, error) {
	read, err := readBulk(c, targets)
	if err != nil {
		return nil, err
	}
	then, err := targets.client(c.ThenTarget)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	answers := answersTo(read.items)
	var interrupted *productsearch.BulkInterrupted
	seen := 0
	for result, err := range read.client.BulkAdd(ctx, read.settings, slices.Values(read.items)).Results() {
		if err != nil {
			if !errors.As(err, &interrupted) {
				return nil, err
			}
			continue
		}
		if err := answers.note(result); err != nil {
			return nil, err
		}
		if seen++; seen == c.After {
			if err := post(control + "/drain/" + c.Target); err != nil {
				return nil, err
			}
		}
	}
	told := outcome{"interrupted": interrupted != nil, "reason": nil, "resent": 0}
	if interrupted != nil {
		var cause *productsearch.Error
		if errors.As(interrupted, &cause) {
			told["reason"] = reasonOf(cause)
		}
		rest := slices.Concat(interrupted.Unanswered, read.items[interrupted.Taken:])
		told["resent"] = len(rest)
		keep := &productsearch.BulkSettings{}
		if read.settings != nil {
			keep = proto.CloneOf(read.settings)
		}
		keep.DuplicatePolicy = pb.DuplicatePolicy_DUPLICATE_POLICY_KEEP
		for result, err := range then.BulkAdd(ctx, keep, slices.Values(rest)).Results() {
			if err != nil {
				return nil, err
			}
			if err := answers.note(result); err != nil {
				return nil, err
			}
		}
	}
	told["answered"] = len(answers.results)
	told["failed"] = answers.failed
	return told, nil
}

func post(url string) error {
	response, err := http.Post(url, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("POST %s: %s", url, response.Status)
	}
	return nil
}
