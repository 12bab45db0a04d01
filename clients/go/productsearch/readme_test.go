package productsearch_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/productsearch/productsearch/clients/go/productsearchv1"
)

// samples returns the Go blocks of the README: the whole programs, and the fragments.
func samples(t *testing.T) (programs, fragments []string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1) {
		if code := string(block[1]); strings.HasPrefix(code, "package main") {
			programs = append(programs, code)
		} else {
			fragments = append(fragments, code)
		}
	}
	return programs, fragments
}

// setup returns the README's command lines that add the module to a program's, without "go".
func setup(t *testing.T, clone string) [][]string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## Setup\n.*?```\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("no setup commands in the README")
	}
	var commands [][]string
	for line := range strings.Lines(strings.ReplaceAll(string(block[1]), "CLONE/clients/go", clone)) {
		commands = append(commands, strings.Fields(line)[1:])
	}
	return commands
}

func unindented(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

// Each fragment of the README is, line by line, part of an example that compiles and runs.
func TestReadmeIsPartOfTheExamples(t *testing.T) {
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, fragments := samples(t)
	if len(fragments) == 0 {
		t.Error("no fragment was found")
	}
	for _, fragment := range fragments {
		if !strings.Contains(unindented(string(examples)), unindented(fragment)) {
			t.Errorf("in no example:\n%s", fragment)
		}
	}
}

// The README's program, followed literally in an empty folder but for the port, prints hits.
func TestReadmeProgramRuns(t *testing.T) {
	programs, _ := samples(t)
	if len(programs) != 1 {
		t.Fatalf("%d programs in the README, want 1", len(programs))
	}
	address, content := exampleService()
	folder := t.TempDir()
	clone, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, written := range map[string][]byte{
		"main.go":   []byte(strings.ReplaceAll(programs[0], "127.0.0.1:50051", address)),
		"image.jpg": content,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), written, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goCommand(t, folder, "mod", "init", "example.org/sample")
	for _, command := range setup(t, clone) {
		goCommand(t, folder, command...)
	}
	out := goCommand(t, folder, "run", ".")
	if want := "stored as 1,1\n1.000 1,1 a red apple\n0.750 2,2 a green apple\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
}

// The quickstart adds and finds, and the second time says that the image is there.
func TestQuickstartRuns(t *testing.T) {
	var adds atomic.Int32
	_, address := serve(t, &service{search: findApples, add: func(
		context.Context, *pb.AddImageRequest,
	) (*pb.AddImageResponse, error) {
		if adds.Add(1) == 1 {
			return &pb.AddImageResponse{ContSign: "1,1"}, nil
		}
		return nil, asError(&rpcstatus.Status{
			Code: int32(codes.AlreadyExists),
			Details: []*anypb.Any{packed(t, &errdetails.ErrorInfo{
				Domain:   "productsearch.v1",
				Reason:   "IMAGE_ALREADY_EXISTS",
				Metadata: map[string]string{"contSign": "1,1"},
			})},
		})
	}})
	file := filepath.Join(t.TempDir(), "image.jpg")
	if err := os.WriteFile(file, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"added 1,1\n", "already there as 1,1\n"} {
		out := goCommand(t, "..", "run", "./examples/quickstart", "-address", address, "-image", file)
		if want += "1.000 1,1 a red apple\n0.750 2,2 a green apple\n"; out != want {
			t.Errorf("printed %q, want %q", out, want)
		}
	}
}

func goCommand(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOFLAGS=")
	var trouble strings.Builder
	command.Stderr = &trouble
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, trouble.String())
	}
	return string(out)
}
