// What the SDK tests share: where the server is, tokens, connections that can be killed, and waits
// for conditions. Nothing here sleeps for a fixed time to let something happen.
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codecs } from './codecs.mjs';
import { websockets } from './websockets.mjs';

export const url = process.env.SDK_URL ?? 'ws://127.0.0.1:8000/connection/websocket';
// The same server once more, with one worker, where there is one: order may depend on their number.
export const servers = [url, process.env.SDK_URL_ONE].filter(Boolean);
/** Nodes behind the URL: each connection goes to the next. */
export const nodes = Number(process.env.SDK_NODES ?? 1);
export const secret = process.env.SDK_SECRET ?? 'sdk-tests-secret-sdk-tests-secret';
// 'corecast' has what the oracle lacks: rpc `where` and the HTTP API.
export const corecast = process.env.SDK_SERVER !== 'oracle';
// What this server does not have; scenarios that need it are skipped, and counted as such.
const lacking = new Set(
  JSON.parse(readFileSync(new URL('lacks.json', import.meta.url)))[corecast ? 'corecast' : 'oracle'],
);
/** The first of `needs` that the server under test does not have, or false. */
export const lacks = (...needs) => needs.find((need) => lacking.has(need)) ?? false;

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An HS256 token; `expires_s` from now. Other options are claims. */
export function token(user, { expires_s = 300, key = secret, ...claims } = {}) {
  const exp = Math.floor(Date.now() / 1000) + expires_s;
  const body = { sub: user, exp, ...claims };
  const head = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(body)}`;
  return `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`;
}

/** A channel that no other test uses. */
export const channel = (namespace = 'chat') => `${namespace}:${randomUUID()}`;

/** So many numbers, in order. */
export const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => from + n);

/** The offset of a publication or position; the Protobuf SDK has it as a `Long`. */
export const offset = (position) => Number(position.offset);

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

/** The first of what was collected that `matches`. */
export async function found({ seen, reach }, matches) {
  for (let count = 1; ; count += 1) {
    await reach(count);
    if (matches(seen[count - 1])) return seen[count - 1];
  }
}

/** The error that a promise is rejected with. */
export async function refusal(promise) {
  return promise.then((value) => {
    throw new Error(`not refused: ${JSON.stringify(value)}`);
  }, (error) => error);
}

/** A call of the server API; the oracle has those that scenarios need. */
export async function api(method, body, server = url) {
  const answer = await fetch(new URL(`/api/${method}`, server.replace(/^ws/, 'http')), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-API-Key': 'sdk-tests' },
    body: JSON.stringify(body),
  });
  if (answer.status !== 200) throw new Error(`${method}: ${answer.status}`);
  const { result, error, replies } = await answer.json();
  if (error) throw Object.assign(new Error(`${method}: ${JSON.stringify(error)}`), error);
  return result ?? replies;
}

/**
 * Clients of one codec over one WebSocket implementation. `pack` makes of a value what such a client
 * publishes, `unpack` what it meant by what it received.
 */
export function kit(codecName = 'json', websocketName = 'ws') {
  const codec = codecs[codecName];
  const { pack, unpack } = codec;
  const open = websockets[websocketName];

  /** An SDK client, closed with the test. `kill()` cuts its socket; `hold()` keeps it from coming back. */
  function client(t, { server = url, ...options } = {}) {
    let kill = () => {};
    const WebSocket = open(codec, (socket) => { kill = socket; });
    let held = Promise.resolve();
    let release = () => {};
    const sdk = new codec.Sdk(server, {
      websocket: WebSocket,
      minReconnectDelay: 20,
      maxReconnectDelay: 200,
      getData: () => held.then(() => pack({})),
      ...options,
    });
    sdk.on('error', () => {});
    t.after(() => {
      release();
      sdk.disconnect();
    });
    sdk.kill = () => kill();
    sdk.hold = () => {
      held = new Promise((resolve) => { release = resolve; });
    };
    sdk.release = () => release();
    return sdk;
  }

  /** A connected SDK client. */
  async function connect(t, options) {
    const sdk = client(t, options);
    sdk.connect();
    await sdk.ready(10_000);
    return sdk;
  }

  /** A subscribed subscription that keeps its publications in `publications`. */
  async function subscribe(sdk, name, options) {
    const subscription = sdk.newSubscription(name, options);
    subscription.publications = collect(subscription, 'publication');
    const subscribed = next(subscription, 'subscribed');
    subscription.subscribe();
    subscription.answer = await subscribed;
    return subscription;
  }

  /** A connection without an SDK: commands out, replies in, app-level pings answered. */
  async function raw(t, options = {}) {
    let kill;
    const WebSocket = open(codec, (socket) => { kill = socket; });
    const socket = new WebSocket(url);
    const replies = [];
    const waiting = [];
    const closed = new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code); });
    const opened = new Promise((resolve) => { socket.onopen = resolve; });
    socket.onerror = () => {};
    socket.onmessage = ({ data }) => {
      for (const reply of codec.codec.decodeReplies(data)) {
        if (!reply.id && !reply.push) {
          socket.send(codec.codec.encodeCommands([{}]));
          continue;
        }
        const found = waiting.findIndex(({ matches }) => matches(reply));
        if (found >= 0) waiting.splice(found, 1)[0].resolve(reply);
        else replies.push(reply);
      }
    };
    t.after(() => kill());
    await within(5_000, opened, 'open');

    const wait = (matches, what, ms = 5_000) => {
      const found = replies.findIndex(matches);
      if (found >= 0) return Promise.resolve(replies.splice(found, 1)[0]);
      return within(ms, new Promise((resolve) => waiting.push({ matches, resolve })), what);
    };
    const send = (...commands) => {
      const bytes = codec.codec.encodeCommands(commands);
      socket.send(options.format ? options.format(bytes) : bytes);
    };
    let id = 0;
    return {
      socket,
      send,
      reply: (number) => wait((reply) => reply.id === number, `reply ${number}`),
      push: (kind, ms) => wait((reply) => reply.push?.[kind], `push ${kind}`, ms),
      close: (ms = 10_000) => within(ms, closed, 'close'),
      ask(command) {
        id += 1;
        send({ id, ...command });
        return this.reply(id);
      },
    };
  }

  return { name: `${codecName} over ${websocketName}`, codec, pack, unpack, client, connect, subscribe, raw };
}

// What most test files need.
export const { client, connect, subscribe, raw } = kit();
