import io.github.centrifugal.centrifuge.*;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What an application does with the unmodified Java SDK, which speaks Protobuf alone. Runs against
 * Corecast and against the oracle; SDK_URL and SDK_SECRET name the server, SDK_FOLDER tests/sdk.
 */
public final class Sdk {
    private interface Scenario { void run() throws Exception; }

    private static final Map<String, Scenario> SCENARIOS = new LinkedHashMap<>();
    private static final Map<String, List<String>> NEEDS = new LinkedHashMap<>();

    private static void scenario(String name, Scenario scenario, String... needs) {
        SCENARIOS.put(name, scenario);
        NEEDS.put(name, List.of(needs));
    }

    static {
        scenario("a token names the user", Sdk::token);
        scenario("an expired token is 109, and the next one is taken", Sdk::expiredToken);
        scenario("a forged token is 3500", Sdk::forgedToken);
        scenario("publications arrive in order", Sdk::order);
        scenario("refusals have their codes", Sdk::refusals);
        scenario("history goes by limit and direction", Sdk::history);
        scenario("presence, joins and leaves", Sdk::presence);
        scenario("rpc and send", Sdk::rpc);
        scenario("a cut subscriber recovers all", Sdk::recovery);
        scenario("128 subscriptions come back from one cut", Sdk::many);
        scenario("unsubscribed and subscribed again, a subscription goes on", Sdk::again);
        scenario("big publications arrive whole", Sdk::big);
        scenario("pings keep a quiet connection", Sdk::pings);
        scenario("a connection is refreshed", Sdk::refresh, "refresh");
        scenario("a subscription token opens what is closed", Sdk::closed, "subscription tokens");
        scenario("server-side subscriptions", Sdk::server, "server subscriptions", "api");
        scenario("tags arrive", Sdk::tags, "api");
    }

    private static void token() throws Exception {
        try (Kit.Peer alice = Kit.Peer.connect(o -> o.setToken(Kit.token("alice", 60, "")))) {
            Kit.Room room = alice.subscribe(Kit.channel("chat"));
            PresenceResult present = Kit.answer(room.subscription::presence);
            Kit.equal(present.getClients().size(), 1);
            for (ClientInfo info : present.getClients().values()) Kit.equal(info.getUser(), "alice");
        }
    }

    private static ConnectionTokenGetter connectionTokens(java.util.function.IntFunction<String> make) {
        AtomicInteger asked = new AtomicInteger();
        return new ConnectionTokenGetter() {
            @Override public void getConnectionToken(ConnectionTokenEvent event, TokenCallback done) {
                done.Done(null, make.apply(asked.incrementAndGet()));
            }
        };
    }

    private static void expiredToken() throws Exception {
        AtomicInteger asked = new AtomicInteger();
        ConnectionTokenGetter getter = connectionTokens(times -> {
            asked.set(times);
            return Kit.token("alice", times == 1 ? -60 : 60, "");
        });
        try (Kit.Peer alice = Kit.Peer.connect(o -> o.setTokenGetter(getter))) {
            Kit.equal(asked.get(), 2);
        }
    }

    private static void forgedToken() throws Exception {
        try (Kit.Peer peer = new Kit.Peer(
                Kit.ADDRESS.toString(), o -> o.setToken(Kit.token("alice", 60, "") + "x"))) {
            peer.client.connect();
            Kit.equal(peer.seen.reach("disconnected", 1), List.of(3500));
        }
    }

    private static void order() throws Exception {
        try (Kit.Peer publisher = Kit.Peer.connect(); Kit.Peer listener = Kit.Peer.connect()) {
            Kit.Room room = listener.subscribe(Kit.channel("chat"));
            for (int n = 0; n < 300; n += 1) publish(publisher, room, n);
            room.check(300);
        }
    }

    private static void publish(Kit.Peer publisher, Kit.Room room, int n) throws Exception {
        publisher.publish(room.subscription.getChannel(), "{\"n\":" + n + "}");
    }

    private static void refusals() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            for (Map.Entry<String, Integer> row : Map.of("nowhere", 102, "closed", 103).entrySet()) {
                String name = Kit.channel(row.getKey());
                Kit.Room room = peer.enter(name, new SubscriptionOptions());
                Kit.equal(room.seen.reach("unsubscribed", 1), List.of(row.getValue()));
                Kit.equal(Kit.refusal((ResultCallback<PublishResult> done) ->
                    peer.client.publish(name, Kit.bytes("{}"), done)), row.getValue());
            }
            String plain = Kit.channel("plain");
            Kit.equal(Kit.refusal((ResultCallback<PresenceResult> done) ->
                peer.client.presence(plain, done)), 108);
            Kit.equal(Kit.refusal((ResultCallback<RPCResult> done) ->
                peer.client.rpc("nothing-like-it", Kit.bytes("{}"), done)), 104);
        }
    }

    private static List<Long> read(Kit.Peer peer, String name, HistoryOptions options) throws Exception {
        HistoryResult page =
            Kit.answer((ResultCallback<HistoryResult> done) -> peer.client.history(name, options, done));
        List<Long> offsets = new ArrayList<>();
        for (Publication each : page.getPublications()) offsets.add(each.getOffset());
        return offsets;
    }

    private static void history() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            String name = Kit.channel("chat");
            for (int n = 0; n < 7; n += 1) peer.publish(name, "{}");
            HistoryOptions none = new HistoryOptions.Builder().withLimit(0).build();
            HistoryResult top =
                Kit.answer((ResultCallback<HistoryResult> done) -> peer.client.history(name, none, done));
            Kit.equal(top.getOffset(), 7L);
            StreamPosition since = new StreamPosition(3, top.getEpoch());
            Kit.equal(read(peer, name, new HistoryOptions.Builder().withLimit(-1).build()),
                List.of(1L, 2L, 3L, 4L, 5L, 6L, 7L));
            Kit.equal(read(peer, name, new HistoryOptions.Builder().withLimit(2).withSince(since).build()),
                List.of(4L, 5L));
            Kit.equal(read(peer, name, new HistoryOptions.Builder().withLimit(2).withReverse(true).build()),
                List.of(7L, 6L));
        }
    }

    private static void presence() throws Exception {
        Kit.Peer alice = Kit.Peer.connect(o -> o.setToken(Kit.token("alice", 60, "")));
        Kit.Peer bob = Kit.Peer.connect(o -> o.setToken(Kit.token("bob", 60, "")));
        try (alice; bob) {
            Kit.Room room = alice.subscribe(Kit.channel("chat"));
            bob.subscribe(room.subscription.getChannel());
            for (int count = 1; !room.seen.reach("join", count).contains("bob"); count += 1) {
                Kit.check(count < 3, "bob does not join");
            }
            PresenceStatsResult stats = Kit.answer(room.subscription::presenceStats);
            Kit.equal(stats.getNumClients(), 2);
            Kit.equal(stats.getNumUsers(), 2);
            bob.client.disconnect();
            Kit.equal(room.seen.reach("leave", 1), List.of("bob"));
        }
    }

    private static void rpc() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            String data = "{\"text\":\"h\u00e9\",\"deep\":[null,{\"n\":1.5}]}";
            for (int times = 0; times < 2; times += 1) {
                RPCResult answer = Kit.answer((ResultCallback<RPCResult> done) ->
                    peer.client.rpc("echo", Kit.bytes(data), done));
                Kit.equal(Kit.text(answer.getData()), data);
                peer.client.send(Kit.bytes(data), error -> {});
            }
        }
    }

    private static void recovery() throws Exception {
        try (Kit.Wire wire = new Kit.Wire(); Kit.Peer publisher = Kit.Peer.connect();
                Kit.Peer listener = Kit.Peer.connect(wire.url(), o -> {})) {
            Kit.Room room = listener.subscribe(Kit.channel("chat"));
            int published = 0;
            int times = 1;
            for (int away : new int[] {30, 0, 100}) {
                for (int n = 0; n < 10; n += 1) publish(publisher, room, published++);
                room.seen.reach("publication", published);
                wire.cut();
                listener.seen.reach("connecting", 1 + times);
                for (int n = 0; n < away; n += 1) publish(publisher, room, published++);
                wire.mend();
                SubscribedEvent answer = (SubscribedEvent) room.seen.reach("subscribed", 1 + times).get(times);
                Kit.check(answer.wasRecovering() && answer.getRecovered(), "not recovered");
                times += 1;
            }
            publish(publisher, room, published++);
            room.check(published);
        }
    }

    private static void many() throws Exception {
        try (Kit.Wire wire = new Kit.Wire(); Kit.Peer publisher = Kit.Peer.connect();
                Kit.Peer listener = Kit.Peer.connect(wire.url(), o -> {})) {
            List<Kit.Room> rooms = new ArrayList<>();
            for (int n = 0; n < 128; n += 1) {
                rooms.add(listener.enter(Kit.channel("chat"), new SubscriptionOptions()));
            }
            for (Kit.Room room : rooms) room.seen.reach("subscribed", 1);
            wire.cut();
            listener.seen.reach("connecting", 2);
            for (Kit.Room room : rooms) publish(publisher, room, 0);
            wire.mend();
            for (Kit.Room room : rooms) {
                SubscribedEvent answer = (SubscribedEvent) room.seen.reach("subscribed", 2).get(1);
                Kit.check(answer.wasRecovering() && answer.getRecovered(), "not recovered");
                room.check(1);
            }
        }
    }

    private static void again() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            Kit.Room room = peer.subscribe(Kit.channel("chat"));
            for (int n = 0; n < 5; n += 1) {
                publish(peer, room, n);
                room.seen.reach("publication", n + 1);
                room.subscription.unsubscribe();
                room.seen.reach("unsubscribed", n + 1);
                room.subscription.subscribe();
                room.seen.reach("subscribed", n + 2);
            }
            room.check(5);
        }
    }

    private static void big() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            Kit.Room room = peer.subscribe(Kit.channel("chat"));
            String data = '"' + "\u00e9".repeat(25_000) + '"';
            for (int n = 0; n < 5; n += 1) peer.publish(room.subscription.getChannel(), data);
            for (Object each : room.seen.reach("publication", 5)) Kit.equal(each, data);
        }
    }

    /** The server pings every 3 s; a second without one beyond that, and the SDK would reconnect. */
    private static void pings() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect(o -> o.setMaxServerPingDelay(1_000))) {
            Thread.sleep(8_000);
            Kit.answer((ResultCallback<RPCResult> done) -> peer.client.rpc("ping", Kit.bytes("{}"), done));
            Kit.equal(peer.seen.now("connecting").size(), 1);
        }
    }

    private static void refresh() throws Exception {
        Kit.Seen asked = new Kit.Seen();
        ConnectionTokenGetter getter = connectionTokens(times -> {
            asked.add("token", times);
            return Kit.token("alice", times < 3 ? 2 : 60, "");
        });
        try (Kit.Peer peer = Kit.Peer.connect(o -> o.setTokenGetter(getter))) {
            asked.reach("token", 3);
            Kit.answer((ResultCallback<RPCResult> done) -> peer.client.rpc("ping", Kit.bytes("{}"), done));
            Kit.equal(peer.seen.now("connecting").size(), 1);
        }
    }

    private static void closed() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect(o -> o.setToken(Kit.token("alice", 60, "")))) {
            String name = Kit.channel("closed");
            String claims = ",\"channel\":\"" + name + "\"";
            SubscriptionOptions another = new SubscriptionOptions();
            another.setToken(Kit.token("alice", 60, claims));
            Kit.Room refused = peer.enter(Kit.channel("closed"), another);
            Kit.equal(refused.seen.reach("unsubscribed", 1), List.of(103));

            Kit.Seen asked = new Kit.Seen();
            SubscriptionOptions options = new SubscriptionOptions();
            options.setTokenGetter(new SubscriptionTokenGetter() {
                @Override public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback done) {
                    asked.add("token", event);
                    done.Done(null, Kit.token("alice", asked.now("token").size() < 3 ? 2 : 60, claims));
                }
            });
            Kit.Room room = peer.enter(name, options);
            room.seen.reach("subscribed", 1);
            asked.reach("token", 3);
            Kit.equal(room.seen.now("subscribing").size(), 1);
        }
    }

    private static void server() throws Exception {
        String user = UUID.randomUUID().toString();
        String name = Kit.channel("chat");
        String later = Kit.channel("chat");
        String token = Kit.token(user, 60, ",\"channels\":[\"" + name + "\"]");
        try (Kit.Wire wire = new Kit.Wire(); Kit.Peer publisher = Kit.Peer.connect();
                Kit.Peer peer = Kit.Peer.connect(wire.url(), o -> o.setToken(token))) {
            peer.seen.reach("subscribed", 1);
            publisher.publish(name, "0");
            peer.seen.reach("publication", 1);
            wire.cut();
            peer.seen.reach("connecting", 2);
            publisher.publish(name, "1");
            wire.mend();
            ServerSubscribedEvent answer = (ServerSubscribedEvent) peer.seen.reach("subscribed", 2).get(1);
            Kit.check(answer.wasRecovering() && answer.getRecovered(), "not recovered");
            Kit.equal(peer.seen.reach("publication", 2), List.of("0", "1"));

            String body = "{\"user\":\"" + user + "\",\"channel\":\"" + later + "\"}";
            Kit.call("subscribe", body);
            Kit.equal(((ServerSubscribedEvent) peer.seen.reach("subscribed", 3).get(2)).getChannel(), later);
            Kit.call("unsubscribe", body);
            Kit.equal(peer.seen.reach("unsubscribed", 1), List.of(later));
            Kit.call("disconnect", "{\"user\":\"" + user + "\"}");
            Kit.equal(peer.seen.reach("disconnected", 1), List.of(3503));
        }
    }

    private static void tags() throws Exception {
        try (Kit.Peer peer = Kit.Peer.connect()) {
            Kit.Seen seen = new Kit.Seen();
            String name = Kit.channel("chat");
            Subscription subscription = peer.client.newSubscription(name, new SubscriptionEventListener() {
                @Override public void onSubscribed(Subscription s, SubscribedEvent e) { seen.add("subscribed", e); }
                @Override public void onPublication(Subscription s, PublicationEvent e) { seen.add("tags", e.getTags()); }
            });
            subscription.subscribe();
            seen.reach("subscribed", 1);
            Kit.call("publish", "{\"channel\":\"" + name + "\",\"data\":{},\"tags\":{\"a\":\"b\"}}");
            Kit.equal(seen.reach("tags", 1), List.of(Map.of("a", "b")));
        }
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        Map<String, Future<String>> verdicts = new LinkedHashMap<>();
        for (Map.Entry<String, Scenario> each : SCENARIOS.entrySet()) {
            List<String> needs = new ArrayList<>(NEEDS.get(each.getKey()));
            needs.add("protobuf");
            verdicts.put(each.getKey(), pool.submit(() -> run(needs, each.getValue())));
        }
        int[] counts = new int[3];
        for (Map.Entry<String, Future<String>> each : verdicts.entrySet()) {
            String verdict = each.getValue().get();
            counts[verdict.equals("pass") ? 0 : verdict.startsWith("skip") ? 2 : 1] += 1;
            System.out.println(verdict + "  " + each.getKey());
        }
        System.out.printf("pass %d%nfail %d%nskipped %d%n", counts[0], counts[1], counts[2]);
        System.exit(counts[1] == 0 ? 0 : 1);
    }

    private static String run(List<String> needs, Scenario scenario) throws Exception {
        for (String need : needs) {
            if (Kit.lacks(need)) return "skip (no " + need + ")";
        }
        try {
            scenario.run();
            return "pass";
        } catch (Exception | AssertionError error) {
            error.printStackTrace();
            return "FAIL " + error;
        }
    }
}
