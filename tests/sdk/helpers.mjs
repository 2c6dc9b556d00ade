// What the SDK tests share: where the server is, tokens, connections that can be killed, and waits
// for conditions. Nothing here sleeps for a fixed time to let something happen.
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

export const url = process.env.SDK_URL ?? 'ws://127.0.0.1:8000/connection/websocket';
export const secret = process.env.SDK_SECRET ?? 'sdk-tests-secret-sdk-tests-secret';
// 'corecast' has what the oracle lacks: rpc `where` and the HTTP API.
export const corecast = process.env.SDK_SERVER !== 'oracle';

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An HS256 connection token; `expires_s` from now. */
export function token(user, { expires_s = 300, key = secret } = {}) {
  const exp = Math.floor(Date.now() / 1000) + expires_s;
  const head = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ sub: user, exp })}`;
  return `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`;
}

/** A channel that no other test uses. */
export const channel = (namespace = 'chat') => `${namespace}:${randomUUID()}`;

/** Rejects when `promise` takes longer than `ms`. */
export function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next `event` of an SDK object. */
export function next(emitter, event, ms = 10_000) {
  return within(ms, new Promise((resolve) => emitter.once(event, resolve)), event);
}

/** Collects what `event` brings; `reach(n)` waits until there are n. */
export function collect(emitter, event, read = (value) => value) {
  const seen = [];
  const waiting = new Set();
  emitter.on(event, (value) => {
    seen.push(read(value));
    for (const check of waiting) check();
  });
  const reach = (count, ms = 15_000) => within(ms, new Promise((resolve) => {
    const check = () => {
      if (seen.length < count) return;
      waiting.delete(check);
      resolve(seen);
    };
    waiting.add(check);
    check();
  }), `${count} x ${event}`).catch((error) => {
    throw new Error(`${error.message}; there were ${seen.length}`);
  });
  return { seen, reach };
}

/** An SDK client, closed with the test. `kill()` cuts its socket; `gate` may hold it back from reconnecting. */
export function client(t, options = {}) {
  let socket;
  class Killable extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  let held = Promise.resolve();
  let release = () => {};
  const sdk = new Centrifuge(url, {
    websocket: Killable,
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
    getData: () => held.then(() => ({})),
    ...options,
  });
  sdk.on('error', () => {});
  t.after(() => {
    release();
    sdk.disconnect();
  });
  sdk.kill = () => socket.terminate();
  sdk.hold = () => {
    held = new Promise((resolve) => { release = resolve; });
  };
  sdk.release = () => release();
  return sdk;
}

/** A connected SDK client. */
export async function connect(t, options) {
  const sdk = client(t, options);
  sdk.connect();
  await sdk.ready(10_000);
  return sdk;
}

/** A subscribed subscription that keeps its publications in `publications`. */
export async function subscribe(sdk, name, options) {
  const subscription = sdk.newSubscription(name, options);
  subscription.publications = collect(subscription, 'publication');
  const subscribed = next(subscription, 'subscribed');
  subscription.subscribe();
  subscription.answer = await subscribed;
  return subscription;
}

/** The error that a promise is rejected with. */
export async function refusal(promise) {
  return promise.then((value) => {
    throw new Error(`not refused: ${JSON.stringify(value)}`);
  }, (error) => error);
}

/** A connection without an SDK: commands out, replies in, app-level pings answered. */
export async function raw(t, { format = JSON.stringify } = {}) {
  const socket = new WebSocket(url);
  const replies = [];
  const waiting = [];
  const closed = new Promise((resolve) => socket.once('close', (code) => resolve(code)));
  socket.on('error', () => {});
  socket.on('message', (data) => {
    for (const line of data.toString().split('\n').filter(Boolean)) {
      const reply = JSON.parse(line);
      if (Object.keys(reply).length === 0) {
        socket.send('{}');
        continue;
      }
      const found = waiting.findIndex(({ matches }) => matches(reply));
      if (found >= 0) waiting.splice(found, 1)[0].resolve(reply);
      else replies.push(reply);
    }
  });
  t.after(() => socket.terminate());
  await within(5_000, once(socket, 'open'), 'open');

  const wait = (matches, what) => {
    const found = replies.findIndex(matches);
    if (found >= 0) return Promise.resolve(replies.splice(found, 1)[0]);
    return within(5_000, new Promise((resolve) => waiting.push({ matches, resolve })), what);
  };
  let id = 0;
  return {
    socket,
    reply: (number) => wait((reply) => reply.id === number, `reply ${number}`),
    push: (kind) => wait((reply) => reply.push?.[kind], `push ${kind}`),
    close: () => within(10_000, closed, 'close'),
    ask(command) {
      id += 1;
      socket.send(format({ id, ...command }));
      return this.reply(id);
    },
  };
}
