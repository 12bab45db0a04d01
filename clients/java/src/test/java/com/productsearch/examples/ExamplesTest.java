package com.productsearch.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.RetryInfo;
import com.productsearch.client.Certificates;
import com.productsearch.client.Failures;
import com.productsearch.client.TestServer;
import com.productsearch.v1.AddImageRequest;
import com.productsearch.v1.AddImageResponse;
import com.productsearch.v1.BatchDeleteImagesRequest;
import com.productsearch.v1.BatchDeleteImagesResponse;
import com.productsearch.v1.BulkAddImagesRequest;
import com.productsearch.v1.BulkAddImagesRequest.Item;
import com.productsearch.v1.BulkAddImagesResponse;
import com.productsearch.v1.BulkAddImagesResponse.ItemResult;
import com.productsearch.v1.BulkAddImagesResponse.Summary;
import com.productsearch.v1.DeleteImageRequest;
import com.productsearch.v1.DeleteImageResponse;
import com.productsearch.v1.ErrorReason;
import com.productsearch.v1.NewImage;
import com.productsearch.v1.ProductSearchGrpc.ProductSearchImplBase;
import com.productsearch.v1.SearchImagesRequest;
import com.productsearch.v1.SearchImagesResponse;
import com.productsearch.v1.SearchResult;
import com.productsearch.v1.UpdateImageRequest;
import com.productsearch.v1.UpdateImageResponse;
import io.grpc.ServerCredentials;
import io.grpc.Status.Code;
import io.grpc.TlsServerCredentials;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ExamplesTest {
    private static final Path SOURCES = Path.of("examples/quickstart/src/main/java");

    @TempDir Path folder;

    /** The quickstart adds an image, finds it, and the second time says that it is there. */
    @Test
    void quickstart() throws Exception {
        Path file = Files.writeString(folder.resolve("apple.jpg"), "an apple");
        try (TestServer server = new TestServer(new Memory())) {
            String[] arguments = {server.address(), file.toString()};
            String found = "0.900 a red apple\n";
            assertEquals(
                    "added apple.sign\n" + found, output(() -> Quickstart.main(arguments)));
            assertEquals(
                    "already there as apple.sign\n" + found,
                    output(() -> Quickstart.main(arguments)));
            assertEquals(found, output(() -> Search.main(arguments)));
        }
    }

    /** The image is added, found, changed and deleted, and what is not there is told. */
    @Test
    void lifecycle() throws Exception {
        Path file = Files.writeString(folder.resolve("apple.jpg"), "an apple");
        Memory memory = new Memory();
        try (TestServer server = new TestServer(memory)) {
            assertEquals(
                    "stored as apple.sign\n0.900 a red apple\n"
                            + "9,9: IMAGE_NOT_FOUND: what happened (NOT_FOUND)\n",
                    output(() -> Lifecycle.main(new String[] {server.address(), file.toString()})));
            assertEquals("apple.sign is a ripe apple of 8", memory.updated);
            assertEquals(Map.of(), memory.stored);
        }
    }

    /** The import stores a folder, tells of what failed, and goes on after an interruption. */
    @Test
    void importsAFolder() throws Exception {
        for (String name : List.of("a.jpg", "b.jpg", "broken.jpg")) {
            Files.writeString(folder.resolve(name), name);
        }
        Memory memory = new Memory();
        try (TestServer server = new TestServer(memory)) {
            assertEquals(
                    "broken.jpg: IMAGE_UNREADABLE: what happened (INVALID_ARGUMENT)\n2 added\n",
                    output(() -> Import.main(new String[] {server.address(), folder.toString()})));
            assertEquals(2, memory.streams);
        }
    }

    /** The secure call gets through mutual TLS. */
    @Test
    void secure() throws Exception {
        Certificates.Pair host = Certificates.make(folder, "host");
        Certificates.Pair caller = Certificates.make(folder, "caller");
        ServerCredentials mutual =
                TlsServerCredentials.newBuilder()
                        .keyManager(host.certificate().toFile(), host.key().toFile())
                        .trustManager(caller.certificate().toFile())
                        .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
                        .build();
        try (TestServer server = new TestServer(mutual, new Memory())) {
            String[] arguments = {
                server.address(),
                host.certificate().toString(),
                caller.certificate().toString(),
                caller.key().toString(),
                "1,2"
            };
            assertEquals("deleted\n", output(() -> Secure.main(arguments)));
        }
    }

    /** Every sample in the README stands in one of the programs above. */
    @Test
    void theReadmesSamplesAreTested() throws IOException {
        List<String> programs = new ArrayList<>();
        try (Stream<Path> files = Files.walk(SOURCES)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                programs.add(withoutSpace(Files.readString(file)));
            }
        }
        List<String> samples =
                Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
                        .matcher(Files.readString(Path.of("README.md")))
                        .results()
                        .map((MatchResult sample) -> sample.group(1))
                        .toList();
        assertEquals(7, samples.size());
        for (String sample : samples) {
            String wanted = withoutSpace(sample);
            assertTrue(programs.stream().anyMatch(text -> text.contains(wanted)), sample);
        }
    }

    private static String withoutSpace(String text) {
        return text.replaceAll("\\s+", "");
    }

    private static String output(Program program) throws Exception {
        PrintStream before = System.out;
        ByteArrayOutputStream written = new ByteArrayOutputStream();
        System.setOut(new PrintStream(written, true, StandardCharsets.UTF_8));
        try {
            program.run();
        } finally {
            System.setOut(before);
        }
        return written.toString(StandardCharsets.UTF_8).replace(System.lineSeparator(), "\n");
    }

    private interface Program {
        void run() throws Exception;
    }

    /** Remembers one image, and interrupts the first bulk stream after its first item. */
    private static final class Memory extends ProductSearchImplBase {
        private final Map<String, SearchResult> stored = new LinkedHashMap<>();
        volatile int streams;
        volatile String updated;

        @Override
        public void addImage(AddImageRequest request, StreamObserver<AddImageResponse> answer) {
            NewImage image = request.getNewImage();
            SearchResult result =
                    SearchResult.newBuilder()
                            .setContSign("apple.sign")
                            .setBrief(image.getBrief())
                            .setScore(0.9)
                            .build();
            if (stored.putIfAbsent(result.getContSign(), result) != null) {
                answer.onError(
                        Failures.thrown(
                                Failures.status(
                                        Code.ALREADY_EXISTS,
                                        "IMAGE_ALREADY_EXISTS",
                                        Map.of("contSign", result.getContSign()))));
                return;
            }
            answer.onNext(AddImageResponse.newBuilder().setContSign("apple.sign").build());
            answer.onCompleted();
        }

        @Override
        public void searchImages(
                SearchImagesRequest request, StreamObserver<SearchImagesResponse> answer) {
            answer.onNext(
                    SearchImagesResponse.newBuilder().addAllResults(stored.values()).build());
            answer.onCompleted();
        }

        @Override
        public void deleteImage(
                DeleteImageRequest request, StreamObserver<DeleteImageResponse> answer) {
            stored.remove(request.getImageRef().getContSign());
            answer.onNext(DeleteImageResponse.getDefaultInstance());
            answer.onCompleted();
        }

        @Override
        public void updateImage(
                UpdateImageRequest request, StreamObserver<UpdateImageResponse> answer) {
            updated =
                    request.getImageRef().getContSign()
                            + " is "
                            + request.getBrief()
                            + " of "
                            + request.getClassId1();
            answer.onNext(UpdateImageResponse.getDefaultInstance());
            answer.onCompleted();
        }

        @Override
        public void batchDeleteImages(
                BatchDeleteImagesRequest request,
                StreamObserver<BatchDeleteImagesResponse> answer) {
            BatchDeleteImagesResponse.Builder response = BatchDeleteImagesResponse.newBuilder();
            for (String sign : request.getContSignsList()) {
                var result = response.addResultsBuilder().setContSign(sign);
                if (sign.equals("9,9")) {
                    result.setError(
                            Failures.status(Code.NOT_FOUND, ErrorReason.IMAGE_NOT_FOUND));
                }
            }
            answer.onNext(response.build());
            answer.onCompleted();
        }

        @Override
        public StreamObserver<BulkAddImagesRequest> bulkAddImages(
                StreamObserver<BulkAddImagesResponse> answer) {
            boolean interrupted = ++streams == 1;
            Summary.Builder summary = Summary.newBuilder();
            return new StreamObserver<>() {
                private boolean ended;

                @Override
                public void onNext(BulkAddImagesRequest request) {
                    if (!request.hasItem() || ended) {
                        return;
                    }
                    if (interrupted) {
                        ended = true;
                        answer.onError(
                                Failures.thrown(
                                        Failures.status(
                                                Code.UNAVAILABLE,
                                                ErrorReason.SERVER_DRAINING.name(),
                                                Map.of(),
                                                RetryInfo.getDefaultInstance())));
                        return;
                    }
                    Item item = request.getItem();
                    ItemResult.Builder result = ItemResult.newBuilder().setKey(item.getKey());
                    if (item.getKey().startsWith("broken")) {
                        result.setError(
                                Failures.status(
                                        Code.INVALID_ARGUMENT, ErrorReason.IMAGE_UNREADABLE));
                    } else {
                        result.setAdded(AddImageResponse.getDefaultInstance());
                        summary.setAddedCount(summary.getAddedCount() + 1);
                    }
                    answer.onNext(BulkAddImagesResponse.newBuilder().setResult(result).build());
                }

                @Override
                public void onError(Throwable cancelled) {}

                @Override
                public void onCompleted() {
                    if (!interrupted) {
                        answer.onNext(
                                BulkAddImagesResponse.newBuilder().setSummary(summary).build());
                        answer.onCompleted();
                    }
                }
            };
        }
    }
}
