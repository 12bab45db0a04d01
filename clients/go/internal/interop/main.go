// Interop runs the cases of a plan with this client and writes what came back; the contract is
// tests/interop/README.md.
//
// Run: go run ./internal/interop PLAN REPORT
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
)

// plan is what the matrix asks for.
type plan struct {
	Language string            `json:"language"`
	Control  string            `json:"control"`
	Targets  map[string]target `json:"targets"`
	Cases    []testCase        `json:"cases"`
}

// testCase is one case; which members are set depends on its kind.
type testCase struct {
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`
	Target     string            `json:"target"`
	Method     string            `json:"method"`
	Request    json.RawMessage   `json:"request"`
	TimeoutS   float64           `json:"timeout_s"`
	Settings   json.RawMessage   `json:"settings"`
	Items      []json.RawMessage `json:"items"`
	After      int               `json:"after"`
	Then       *testCase         `json:"then"`
	ThenTarget string            `json:"then_target"`
	Seconds    float64           `json:"seconds"`
	IntervalS  float64           `json:"interval_s"`
}

// outcome is what a case came to, ready to be written as JSON.
type outcome map[string]any

type reportedCase struct {
	Name    string  `json:"name"`
	Outcome outcome `json:"outcome"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: interop PLAN REPORT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(planFile, reportFile string) error {
	text, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	var asked plan
	if err := json.Unmarshal(text, &asked); err != nil {
		return fmt.Errorf("%s: %w", planFile, err)
	}
	targets := &targets{known: asked.Targets}
	defer targets.close()

	// Idle for most of a minute, these run beside the others.
	cases := make([]reportedCase, len(asked.Cases))
	var idle sync.WaitGroup
	for i, c := range asked.Cases {
		report := func() { cases[i] = reportedCase{c.Name, outcomeOf(c, targets, asked.Control)} }
		if c.Kind == "keepalive" {
			idle.Add(1)
			go func() { defer idle.Done(); report() }()
		} else {
			report()
		}
	}
	idle.Wait()

	told, err := json.Marshal(map[string]any{"language": asked.Language, "cases": cases})
	if err != nil {
		return err
	}
	return os.WriteFile(reportFile, told, 0o644)
}

func outcomeOf(c testCase, targets *targets, control string) (told outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			told = outcome{"crashed": fmt.Sprintf("%v\n%s", fault, debug.Stack())}
		}
	}()
	var err error
	switch c.Kind {
	case "unary":
		told, err = unary(c, targets)
	case "pages":
		told, err = pages(c, targets)
	case "bulk":
		told, err = bulk(c, targets)
	case "bulk_cancel":
		told, err = bulkCancel(c, targets)
	case "bulk_drain":
		told, err = bulkDrain(c, targets, control)
	case "keepalive":
		told, err = keepalive(c, targets)
	default:
		return outcome{"unsupported": true}
	}
	if err != nil {
		return outcome{"crashed": err.Error()}
	}
	return told
}
