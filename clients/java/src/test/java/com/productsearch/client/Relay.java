package com.productsearch.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Stands between client and server, and can cut the cable. */
final class Relay implements AutoCloseable {
    private final ServerSocket front;
    private final int port;
    private final List<Socket> sockets = new CopyOnWriteArrayList<>();

    Relay(int port) {
        this.port = port;
        try {
            front = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        begin(this::accept);
    }

    String address() {
        return "127.0.0.1:" + front.getLocalPort();
    }

    /** Cuts all connections; new ones are refused. */
    void cut() {
        try {
            front.close();
            for (Socket socket : sockets) {
                socket.close();
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        cut();
    }

    private void accept() throws IOException {
        while (true) {
            Socket client = front.accept();
            Socket server = new Socket(InetAddress.getLoopbackAddress(), port);
            sockets.addAll(List.of(client, server));
            begin(() -> client.getInputStream().transferTo(server.getOutputStream()));
            begin(() -> server.getInputStream().transferTo(client.getOutputStream()));
        }
    }

    private static void begin(Pump pump) {
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                pump.run();
                            } catch (IOException theCableWasCut) {
                                // That is what it is for.
                            }
                        });
        thread.setDaemon(true);
        thread.start();
    }

    private interface Pump {
        void run() throws IOException;
    }
}
