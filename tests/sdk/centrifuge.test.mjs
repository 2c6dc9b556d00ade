// What an application does with the unmodified npm `centrifuge` SDK, in JSON. Runs against Corecast
// and against the oracle.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import {
  channel, client, collect, connect, corecast, next, refusal, subscribe, token, url,
} from './helpers.mjs';

const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => from + n);
const payload = ({ data }) => data.n;

test('an anonymous client connects', async (t) => {
  const sdk = client(t);
  sdk.connect();
  const { client: id } = await next(sdk, 'connected');
  assert.ok(id.length > 0);
});

test('a token names the user', async (t) => {
  const sdk = await connect(t, { token: token('alice') });
  const room = await subscribe(sdk, channel());
  const users = Object.values((await room.presence()).clients).map(({ user }) => user);
  assert.deepEqual(users, ['alice']);
});

test('an expired token is error 109, and the next one is taken', async (t) => {
  const tokens = [token('alice', { expires_s: -60 }), token('alice')];
  const sdk = client(t, { getToken: async () => tokens.shift() });
  const errors = collect(sdk, 'error', ({ error }) => error.code);
  sdk.connect();
  await next(sdk, 'connected');
  assert.deepEqual(errors.seen, [109]);
  assert.equal(tokens.length, 0);
});

test('a forged token is disconnect 3500', async (t) => {
  const sdk = client(t, { token: token('alice', { key: 'another-secret-another-secret-123' }) });
  sdk.connect();
  assert.equal((await next(sdk, 'disconnected')).code, 3500);
});

test('a publication is acknowledged, and arrives with its publisher', async (t) => {
  const name = channel();
  const [alice, bob] = await Promise.all([
    connect(t, { token: token('alice') }), connect(t, { token: token('bob') }),
  ]);
  const heard = await subscribe(bob, name);
  await subscribe(alice, name);
  const arrived = next(heard, 'publication');
  await alice.publish(name, { text: 'h\u00e9llo \u{1f600}' });
  const publication = await arrived;
  assert.deepEqual(publication.data, { text: 'h\u00e9llo \u{1f600}' });
  assert.equal(publication.info.user, 'alice');
  assert.ok(publication.info.client.length > 0);
  assert.equal(publication.offset, 1);
});

test('publications arrive in the order they were sent', async (t) => {
  const name = channel();
  const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
  const heard = await subscribe(listener, name);
  await Promise.all(numbers(500).map((n) => publisher.publish(name, { n })));
  const publications = await heard.publications.reach(500);
  assert.deepEqual(publications.map(payload), numbers(500));
  assert.deepEqual(publications.map(({ offset }) => offset), numbers(500, 1));
});

test('refusals have their codes', async (t) => {
  const sdk = await connect(t);
  for (const [name, code] of [[channel('nowhere'), 102], [channel('closed'), 103]]) {
    const subscription = sdk.newSubscription(name);
    const unsubscribed = next(subscription, 'unsubscribed');
    subscription.subscribe();
    assert.equal((await unsubscribed).code, code, name);
    assert.equal((await refusal(sdk.publish(name, {}))).code, code, name);
    assert.equal((await refusal(sdk.history(name, { limit: 1 }))).code, code, name);
    assert.equal((await refusal(sdk.presence(name))).code, code, name);
  }
  const plain = channel('plain');
  assert.equal((await refusal(sdk.history(plain, { limit: 1 }))).code, 108);
  assert.equal((await refusal(sdk.presence(plain))).code, 108);
  assert.equal((await refusal(sdk.presenceStats(plain))).code, 108);
});

test('what subscribers may do is refused to others', async (t) => {
  const sdk = await connect(t);
  const name = channel('members');
  assert.equal((await refusal(sdk.publish(name, {}))).code, 103);
  assert.equal((await refusal(sdk.history(name, { limit: 1 }))).code, 103);
  const room = await subscribe(sdk, name);
  await room.publish({ n: 0 });
  await room.publications.reach(1);
  assert.equal((await room.history({ limit: 10 })).publications.length, 1);
});

test('history goes by limit, position and direction', async (t) => {
  const sdk = await connect(t);
  const name = channel();
  for (const n of numbers(10, 1)) await sdk.publish(name, { n });

  const position = await sdk.history(name, { limit: 0 });
  assert.deepEqual([position.offset, position.publications], [10, []]);
  const read = async (options) =>
    (await sdk.history(name, options)).publications.map(({ data, offset }) => {
      assert.equal(data.n, offset);
      return offset;
    });
  const since = (offset) => ({ offset, epoch: position.epoch });
  assert.deepEqual(await read({ limit: -1 }), numbers(10, 1));
  assert.deepEqual(await read({ limit: 3 }), [1, 2, 3]);
  assert.deepEqual(await read({ limit: 3, reverse: true }), [10, 9, 8]);
  assert.deepEqual(await read({ limit: 3, since: since(4) }), [5, 6, 7]);
  assert.deepEqual(await read({ limit: 3, since: since(4), reverse: true }), [3, 2, 1]);
  assert.deepEqual(await read({ limit: -1, since: since(10) }), []);
  const strange = sdk.history(name, { limit: 1, since: { offset: 4, epoch: 'another' } });
  assert.equal((await refusal(strange)).code, 112);
});

test('presence, and joins and leaves', async (t) => {
  const name = channel();
  const [alice, bob] = await Promise.all([
    connect(t, { token: token('alice') }), connect(t, { token: token('bob') }),
  ]);
  const room = await subscribe(alice, name);
  const joins = collect(room, 'join', ({ info }) => info.user);
  const leaves = collect(room, 'leave', ({ info }) => info.user);
  await subscribe(bob, name);
  await joins.reach(joins.seen.includes('alice') ? 2 : 1);
  assert.equal(joins.seen.at(-1), 'bob');
  const { clients } = await room.presence();
  assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ['alice', 'bob']);
  for (const [id, info] of Object.entries(clients)) assert.equal(info.client, id);
  assert.deepEqual(await room.presenceStats(), { numClients: 2, numUsers: 2 });

  bob.kill();
  bob.hold(); // what the network took away leaves as well
  assert.deepEqual(await leaves.reach(1), ['bob']);
  assert.deepEqual(await room.presenceStats(), { numClients: 1, numUsers: 1 });
});

test('rpc answers, and knows what it does not know', async (t) => {
  const sdk = await connect(t);
  await sdk.rpc('ping', {});
  const data = { deep: [1, { two: null }], text: '\ud83d\ude00\\"\u2028' };
  assert.deepEqual((await sdk.rpc('echo', data)).data, data);
  assert.equal((await refusal(sdk.rpc('nothing-like-it', {}))).code, 104);
  await sdk.send({ n: 0 }); // has no answer, and does no harm
  await sdk.rpc('ping', {});
});

test('killed again and again, a subscriber recovers all, in order, once', async (t) => {
  const name = channel();
  const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
  const heard = await subscribe(listener, name);
  let n = 0;
  const publish = async (count) => {
    for (const _ of numbers(count)) await publisher.publish(name, { n: n++ });
  };
  for (const away of [50, 0, 200]) {
    await publish(10);
    await heard.publications.reach(n);
    listener.hold();
    listener.kill();
    await next(listener, 'connecting');
    await publish(away);
    const back = next(heard, 'subscribed');
    listener.release();
    const answer = await back;
    assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
    assert.equal(answer.hasRecoveredPublications, away > 0);
  }
  await publish(10);
  const publications = await heard.publications.reach(n);
  assert.deepEqual(publications.map(payload), numbers(n));
  assert.deepEqual(publications.map(({ offset }) => offset), numbers(n, 1));
});

test('recovery during live publications loses and repeats nothing', async (t) => {
  const name = channel();
  const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
  const heard = await subscribe(listener, name);
  let recovered = 0;
  heard.on('subscribed', (answer) => {
    assert.equal(answer.recovered, true);
    recovered += 1;
  });
  for (const n of numbers(600)) {
    await publisher.publish(name, { n });
    if (n % 100 === 50) listener.kill();
  }
  assert.deepEqual((await heard.publications.reach(600)).map(payload), numbers(600));
  assert.ok(recovered > 0, 'never recovered');
});

test('a position of another epoch is plainly not recovered', async (t) => {
  const sdk = await connect(t);
  const name = channel();
  await sdk.publish(name, { n: 0 });
  const room = await subscribe(sdk, name, { since: { offset: 0, epoch: 'another' } });
  assert.deepEqual([room.answer.wasRecovering, room.answer.recovered], [true, false]);
  assert.deepEqual(room.publications.seen, []);
});

test('128 subscriptions come back from one kill', async (t) => {
  const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
  const rooms = await Promise.all(numbers(128).map(() => subscribe(listener, channel())));
  const over = listener.newSubscription(channel());
  const refused = next(over, 'unsubscribed');
  over.subscribe();
  assert.equal((await refused).code, 106);

  listener.hold();
  listener.kill();
  await next(listener, 'connecting');
  await Promise.all(rooms.map((room, n) => publisher.publish(room.channel, { n })));
  const back = rooms.map((room) => next(room, 'subscribed'));
  listener.release();
  for (const answer of await Promise.all(back)) {
    assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
  }
  for (const [n, room] of rooms.entries()) {
    assert.deepEqual((await room.publications.reach(1)).map(payload), [n]);
  }
});

test('publisher, home and subscriber on three workers keep the order', async (t) => {
  const connections = await Promise.all(numbers(24).map(() => connect(t)));
  const where = async (sdk, name) =>
    (corecast ? (await sdk.rpc('where', { channel: name })).data : { worker: sdk, home: null });
  if (corecast) {
    const workers = new Set();
    for (const sdk of connections) workers.add((await where(sdk, 'chat:x')).worker);
    for (let more = 0; workers.size < 4 && more < 100; more += 1) {
      const sdk = await connect(t);
      connections.push(sdk);
      workers.add((await where(sdk, 'chat:x')).worker);
    }
    assert.equal(workers.size, 4, 'connections do not reach every worker');
  }
  for (const name of numbers(8).map(() => channel())) {
    const places = await Promise.all(connections.map(async (sdk) => ({ sdk, ...await where(sdk, name) })));
    const publisher = places.find(({ worker, home }) => worker !== home);
    const listeners = places.filter(({ worker, home }) => worker !== home && worker !== publisher.worker);
    assert.ok(listeners.length > 0);
    const rooms = await Promise.all(listeners.slice(0, 8).map(({ sdk }) => subscribe(sdk, name)));
    await Promise.all(numbers(100).map((n) => publisher.sdk.publish(name, { n })));
    for (const room of rooms) {
      const publications = await room.publications.reach(100);
      assert.deepEqual(publications.map(payload), numbers(100));
      assert.deepEqual(publications.map(({ offset }) => offset), numbers(100, 1));
    }
  }
});

test('under traffic, pings keep a client for 30 s, and end a stopped one with 3012', async (t) => {
  const name = channel();
  const publisher = await connect(t);
  // One second more than the ping interval without a ping, and the SDK would reconnect.
  const listener = await connect(t, { maxServerPingDelay: 1_000 });
  const heard = await subscribe(listener, name);
  const reconnects = collect(listener, 'connecting');
  const leaves = collect(heard, 'leave');

  const child = spawn(process.execPath, [new URL('stopped.mjs', import.meta.url).pathname, url, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout });
  assert.deepEqual(await once(lines, 'line'), ['subscribed']);
  child.kill('SIGSTOP');
  const code = leaves.reach(1, 15_000).then(() => {
    const line = once(lines, 'line');
    child.kill('SIGCONT');
    return line;
  });

  const start = Date.now();
  for (const n of numbers(300)) {
    await sleep(Math.max(0, start + n * 100 - Date.now()));
    await publisher.publish(name, { n });
  }
  assert.deepEqual((await heard.publications.reach(300)).map(payload), numbers(300));
  assert.deepEqual(reconnects.seen, []);
  assert.deepEqual(await code, ['3012']);
});
