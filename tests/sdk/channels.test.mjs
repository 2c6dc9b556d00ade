// What channels' names mean, a user's own channel, and what a publisher may ask for. The oracle
// leaves all of this to its application, so only Corecast is asked.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import {
  channel, collect, connect, corecast, next, raw, refusal, secret, subscribe, token, within,
} from './helpers.mjs';

const only = { skip: corecast ? false : 'Corecast only' };
const own = { skip: process.env.SDK_BINARY ? false : 'no binary to start' };

/** A token with these claims. */
function signed(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
}

/** A server of the test's own, with these variables; its WebSocket and API addresses. */
async function server(t, variables) {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  const env = {
    ...process.env,
    CORECAST_LISTEN: `127.0.0.1:${port}`,
    CORECAST_DRIVER: process.env.SDK_DRIVER ?? 'auto',
    CORECAST_WORKERS: '2',
    CORECAST_CLIENT_TOKEN_HMAC_SECRET: secret,
    ...variables,
  };
  const child = spawn(process.env.SDK_BINARY, ['serve', '--dev'], { env, stdio: 'ignore' });
  t.after(() => child.kill('SIGTERM'));
  const base = `http://127.0.0.1:${port}`;
  const ready = () => fetch(`${base}/ready`).then(({ ok }) => ok, () => false);
  await within(10_000, (async () => {
    while (!await ready()) await new Promise((resolve) => setTimeout(resolve, 20));
  })(), 'the server');
  return { url: `ws://127.0.0.1:${port}/connection/websocket`, base };
}

test('a user has a channel of its own from connect on, and recovers it', own, async (t) => {
  const { url, base } = await server(t, { CORECAST_CLIENT_USER_PERSONAL_CHANNEL: 'chat' });
  const publish = async (user, data) => {
    const body = JSON.stringify({ channel: `chat:#${user}`, data });
    const { result } = await (await fetch(`${base}/api/publish`, { method: 'POST', body })).json();
    assert.ok(result);
  };
  let socket;
  class Kept extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  let held = Promise.resolve();
  const sdk = new Centrifuge(url, {
    websocket: Kept,
    token: token('al'),
    minReconnectDelay: 20,
    maxReconnectDelay: 50,
    getData: () => held.then(() => ({})),
  });
  const other = new Centrifuge(url, { websocket: WebSocket, token: token('bo') });
  t.after(() => [sdk, other].forEach((each) => each.disconnect()));
  const subscribed = collect(sdk, 'subscribed');
  const heard = collect(sdk, 'publication', ({ data }) => data);
  const others = collect(other, 'publication');
  sdk.connect();
  other.connect();
  await subscribed.reach(1);
  await other.ready(5_000);
  assert.equal(subscribed.seen[0].channel, 'chat:#al');
  await publish('al', 1);
  await heard.reach(1);

  let release;
  held = new Promise((resolve) => { release = resolve; });
  const lost = next(sdk, 'connecting');
  socket.terminate();
  await lost;
  await publish('al', 2);
  release();
  await subscribed.reach(2);
  assert.deepEqual([subscribed.seen[1].wasRecovering, subscribed.seen[1].recovered], [true, true]);
  await publish('al', 3);
  await heard.reach(3);
  assert.deepEqual(heard.seen, [1, 2, 3]);
  assert.deepEqual(others.seen, []);

  // Another user may not even ask.
  const foreign = other.newSubscription('chat:#al');
  const refused = next(foreign, 'unsubscribed');
  foreign.subscribe();
  assert.equal((await refused).code, 103);
});

test('a channel with users in its name is for them alone', only, async (t) => {
  const name = `limited:${randomUUID()}#al,bo`;
  const [al, bo, carl, nobody] = await Promise.all(
    ['al', 'bo', 'carl'].map((user) => connect(t, { token: token(user) })).concat(connect(t)),
  );
  const [first, second] = await Promise.all([subscribe(al, name), subscribe(bo, name)]);
  await al.publish(name, 'for two');
  await Promise.all([first.publications.reach(1), second.publications.reach(1)]);
  for (const sdk of [carl, nobody]) {
    const subscription = sdk.newSubscription(name);
    const refused = next(subscription, 'unsubscribed');
    subscription.subscribe();
    assert.equal((await refused).code, 103);
    assert.equal((await refusal(sdk.publish(name, 1))).code, 103);
    assert.equal((await refusal(sdk.history(name, { limit: 1 }))).code, 103);
  }
});

test('a private channel takes a token for it, for this user', only, async (t) => {
  const name = `$${channel('plain')}`;
  const sdk = await connect(t, { token: token('al') });
  const without = sdk.newSubscription(name);
  const refused = next(without, 'unsubscribed');
  without.subscribe();
  assert.equal((await refused).code, 103);
  sdk.removeSubscription(without);
  const exp = Math.floor(Date.now() / 1000) + 60;
  const wrong = [{ sub: 'bo', channel: name, exp }, { sub: 'al', channel: `${name}x`, exp }];
  for (const claims of wrong) {
    const subscription = sdk.newSubscription(name, { token: signed(claims) });
    const ended = next(subscription, 'unsubscribed');
    subscription.subscribe();
    assert.equal((await ended).code, 103, JSON.stringify(claims));
    sdk.removeSubscription(subscription);
  }
  const room = await subscribe(sdk, name, { token: signed({ sub: 'al', channel: name, exp }) });
  await sdk.publish(name, 'in private');
  await room.publications.reach(1);
});

test('a name has to match its namespace', only, async (t) => {
  const sdk = await connect(t);
  await subscribe(sdk, `numbers:${process.hrtime.bigint()}`);
  for (const [name, code] of [['numbers:x', 107], ['numbers:', 107], ['plain:a\nb', 107], ['nowhere:x', 102]]) {
    const subscription = sdk.newSubscription(name);
    const refused = next(subscription, 'unsubscribed');
    subscription.subscribe();
    assert.equal((await refused).code, code, name);
    assert.equal((await refusal(sdk.publish(name, 1))).code, code, name);
  }
});

test('a key is published once, whoever repeats it', only, async (t) => {
  const name = channel();
  const room = await subscribe(await connect(t), name);
  const connections = await Promise.all([raw(t), raw(t)]);
  const publish = { channel: name, data: 'once', idempotency_key: 'k' };
  for (const connection of connections) {
    await connection.ask({ connect: {} });
    assert.deepEqual((await connection.ask({ publish })).publish, {});
    assert.deepEqual((await connection.ask({ publish })).publish, {});
  }
  assert.deepEqual((await connections[0].ask({ publish: { ...publish, idempotency_key: 'l' } })).publish, {});
  await room.publications.reach(2);
  assert.deepEqual(room.publications.seen.map(({ offset }) => offset), [1, 2]);
  const long = { ...publish, idempotency_key: 'k'.repeat(257) };
  assert.equal((await connections[0].ask({ publish: long })).error.code, 107);
});

test('a publisher is not told its own where it says so', only, async (t) => {
  const name = channel('plain');
  const other = await subscribe(await connect(t), name);
  const connection = await raw(t);
  await connection.ask({ connect: {} });
  await connection.ask({ subscribe: { channel: name } });
  await connection.ask({ publish: { channel: name, data: 'for others', exclude_self: true } });
  await connection.ask({ publish: { channel: name, data: 'for all' } });
  assert.equal((await connection.push('pub')).push.pub.data, 'for all');
  await other.publications.reach(2);
  assert.deepEqual(other.publications.seen.map(({ data }) => data), ['for others', 'for all']);
});
