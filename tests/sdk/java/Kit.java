import io.github.centrifugal.centrifuge.*;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** What the Java tests share: tokens, what was seen, clients, and a wire that can be cut. */
final class Kit {
    static final URI ADDRESS =
        URI.create(env("SDK_URL", "ws://127.0.0.1:8000/connection/websocket"));
    static final String SECRET = env("SDK_SECRET", "sdk-tests-secret-sdk-tests-secret");

    static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    /** What the server under test does not have (lacks.json). */
    static boolean lacks(String feature) throws IOException {
        String text = Files.readString(Path.of(env("SDK_FOLDER", "."), "lacks.json"));
        String server = env("SDK_SERVER", "corecast");
        int from = text.indexOf("[", text.indexOf('"' + server + '"'));
        return text.substring(from, text.indexOf("]", from)).contains('"' + feature + '"');
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** An HS256 token; `more` is further claims, as JSON with a comma before it. */
    static String token(String user, long lastsSeconds, String more) {
        long until = System.currentTimeMillis() / 1000 + lastsSeconds;
        String claims = "{\"sub\":\"" + user + "\",\"exp\":" + until + more + "}";
        Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();
        String signed = base64.encodeToString(bytes("{\"alg\":\"HS256\"}")) + "."
            + base64.encodeToString(bytes(claims));
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(bytes(SECRET), "HmacSHA256"));
            return signed + "." + base64.encodeToString(mac.doFinal(bytes(signed)));
        } catch (java.security.GeneralSecurityException impossible) {
            throw new AssertionError(impossible);
        }
    }

    static String channel(String namespace) {
        return namespace + ":" + UUID.randomUUID();
    }

    /** A call of the server API. */
    static void call(String method, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder()
            .uri(URI.create("http://" + ADDRESS.getAuthority() + "/api/" + method))
            .header("X-API-Key", "sdk-tests")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        String answer =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        check(!answer.contains("\"error\""), method + ": " + answer);
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void equal(Object got, Object wanted) {
        check(wanted.equals(got), got + " instead of " + wanted);
    }

    /** The answer of a call of the SDK. */
    static <T> T answer(Consumer<ResultCallback<T>> ask) throws Exception {
        CompletableFuture<T> answer = new CompletableFuture<>();
        ask.accept((error, result) -> {
            if (error != null) answer.completeExceptionally(error);
            else answer.complete(result);
        });
        return answer.get(10, TimeUnit.SECONDS);
    }

    /** The code that a call is refused with. */
    static <T> int refusal(Consumer<ResultCallback<T>> ask) throws Exception {
        try {
            answer(ask);
        } catch (java.util.concurrent.ExecutionException error) {
            return ((ReplyError) error.getCause()).getCode();
        }
        throw new AssertionError("not refused");
    }

    /** What happened, by name, and waits until it has happened often enough. */
    static final class Seen {
        private final Map<String, List<Object>> events = new HashMap<>();

        synchronized void add(String name, Object value) {
            events.computeIfAbsent(name, unused -> new ArrayList<>()).add(value);
            notifyAll();
        }

        synchronized List<Object> now(String name) {
            return new ArrayList<>(events.getOrDefault(name, List.of()));
        }

        synchronized List<Object> reach(String name, int count) throws InterruptedException {
            long deadline = System.currentTimeMillis() + 15_000;
            while (now(name).size() < count) {
                long left = deadline - System.currentTimeMillis();
                check(left > 0, count + " x " + name + ": there were " + now(name).size());
                wait(left);
            }
            return now(name);
        }
    }

    /** A connected or unconnected SDK client. */
    static final class Peer extends EventListener implements AutoCloseable {
        final Seen seen = new Seen();
        final Client client;

        Peer(String url, Consumer<Options> configure) {
            Options options = new Options();
            options.setMinReconnectDelay(20);
            options.setMaxReconnectDelay(200);
            configure.accept(options);
            client = new Client(url, options, this);
        }

        static Peer connect(Consumer<Options> configure) throws InterruptedException {
            return connect(ADDRESS.toString(), configure);
        }

        static Peer connect(String url, Consumer<Options> configure) throws InterruptedException {
            Peer peer = new Peer(url, configure);
            peer.client.connect();
            peer.seen.reach("connected", 1);
            return peer;
        }

        static Peer connect() throws InterruptedException {
            return connect(options -> {});
        }

        @Override public void onConnecting(Client c, ConnectingEvent e) { seen.add("connecting", e.getCode()); }
        @Override public void onConnected(Client c, ConnectedEvent e) { seen.add("connected", e); }
        @Override public void onDisconnected(Client c, DisconnectedEvent e) { seen.add("disconnected", e.getCode()); }
        @Override public void onError(Client c, ErrorEvent e) { seen.add("error", e.getError()); }
        @Override public void onSubscribed(Client c, ServerSubscribedEvent e) { seen.add("subscribed", e); }
        @Override public void onUnsubscribed(Client c, ServerUnsubscribedEvent e) { seen.add("unsubscribed", e.getChannel()); }
        @Override public void onPublication(Client c, ServerPublicationEvent e) { seen.add("publication", text(e.getData())); }

        void publish(String channel, String data) throws Exception {
            answer((ResultCallback<PublishResult> done) -> client.publish(channel, bytes(data), done));
        }

        Room enter(String channel, SubscriptionOptions options) throws Exception {
            Room room = new Room();
            room.subscription = client.newSubscription(channel, options, room);
            room.subscription.subscribe();
            return room;
        }

        Room subscribe(String channel) throws Exception {
            Room room = enter(channel, new SubscriptionOptions());
            room.seen.reach("subscribed", 1);
            return room;
        }

        @Override public void close() throws InterruptedException {
            client.close(1_000);
        }
    }

    /** A subscription and what it brought. */
    static final class Room extends SubscriptionEventListener {
        final Seen seen = new Seen();
        Subscription subscription;

        @Override public void onSubscribing(Subscription s, SubscribingEvent e) { seen.add("subscribing", e.getCode()); }
        @Override public void onSubscribed(Subscription s, SubscribedEvent e) { seen.add("subscribed", e); }
        @Override public void onUnsubscribed(Subscription s, UnsubscribedEvent e) { seen.add("unsubscribed", e.getCode()); }
        @Override public void onJoin(Subscription s, JoinEvent e) { seen.add("join", e.getInfo().getUser()); }
        @Override public void onLeave(Subscription s, LeaveEvent e) { seen.add("leave", e.getInfo().getUser()); }
        @Override public void onPublication(Subscription s, PublicationEvent e) {
            seen.add("offset", e.getOffset());
            seen.add("publication", text(e.getData()));
        }

        /** Publications are {"n":0}, {"n":1}, ..., their offsets 1, 2, .... */
        void check(int count) throws InterruptedException {
            List<Object> publications = seen.reach("publication", count);
            equal(publications.size(), count);
            for (int n = 0; n < count; n += 1) {
                equal(publications.get(n), "{\"n\":" + n + "}");
                equal(seen.now("offset").get(n), n + 1L);
            }
        }
    }

    /** A TCP proxy before the server; `cut` resets what is connected and refuses what comes. */
    static final class Wire implements AutoCloseable {
        private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        private final List<Socket> sockets = new ArrayList<>();
        private boolean open = true;

        Wire() throws IOException {
            start(() -> {
                while (true) pass(listener.accept());
            });
        }

        String url() {
            return "ws://127.0.0.1:" + listener.getLocalPort() + ADDRESS.getPath();
        }

        private synchronized void pass(Socket from) throws IOException {
            if (!open) {
                from.close();
                return;
            }
            Socket to = new Socket(ADDRESS.getHost(), ADDRESS.getPort());
            sockets.addAll(List.of(from, to));
            pipe(from, to);
            pipe(to, from);
        }

        private void pipe(Socket from, Socket to) throws IOException {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            start(() -> {
                in.transferTo(out);
                from.close();
                to.close();
            });
        }

        synchronized void cut() throws IOException {
            open = false;
            for (Socket socket : sockets) {
                if (!socket.isClosed()) socket.setSoLinger(true, 0);
                socket.close();
            }
            sockets.clear();
        }

        synchronized void mend() {
            open = true;
        }

        @Override public void close() throws IOException {
            listener.close();
            cut();
        }

        private interface Work { void run() throws IOException; }

        private static void start(Work work) {
            Thread thread = new Thread(() -> {
                try {
                    work.run();
                } catch (IOException gone) {
                    // The end of a wire that was cut.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }
}
