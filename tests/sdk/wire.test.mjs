// SDKs that cannot run here (Swift, Dart) speak the same Protobuf: bytes that such a client sends,
// and the bytes that the oracle answered, recorded. Both servers have to answer with the same
// meaning. `SDK_RECORD=1` against the oracle records anew.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { codecs } from './codecs.mjs';
import { api, token, url, within } from './helpers.mjs';

const file = new URL('wire.json', import.meta.url);
const recording = process.env.SDK_RECORD === '1';
const { codec } = codecs.protobuf;

// Stands in recorded bytes for a name of the same length that no other run uses.
const PLACE = 'recorded-0000000';
// Stand for what a server said earlier in the conversation.
const EPOCH = '$epoch';
const CLIENT = '$client';
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const read = (frames) => frames.flatMap((frame) => codec.decodeReplies(Buffer.from(frame, 'hex')));

/** A step's bytes for this run; epochs differ in length, so the lengths around them follow. */
function bytesOf(send, run, epoch) {
  const bytes = Buffer.from(send.replaceAll(hex(Buffer.from(PLACE)), hex(Buffer.from(run))), 'hex');
  const at = bytes.indexOf(EPOCH);
  if (at < 0) return bytes;
  const more = epoch.length - EPOCH.length;
  const changed = Buffer.concat([bytes.subarray(0, at), Buffer.from(epoch), bytes.subarray(at + EPOCH.length)]);
  // The command's length, its field's behind a one-byte id, and the string's: each of one byte.
  for (const length of [0, 4, at - 1]) changed[length] += more;
  assert.ok(changed.length < 128 && changed[3] === 0x2a, 'lengths of one byte, of a subscribe');
  return changed;
}

/** Puts deltas together: two encoders may find different patches for the same document. */
function patched(replies) {
  let base;
  for (const { push } of replies) {
    if (!push?.channel.startsWith('delta:') || !push.pub) continue;
    const { newData, newPrevValue } = codec.applyDeltaIfNeeded(push.pub, base);
    push.pub.data = newData;
    base = newPrevValue;
  }
  return replies;
}

/** What replies mean, without what is of one run or one server; pings are passed over. */
function meaning(frames, run) {
  const own = new Set(['client', 'epoch', 'node', 'session', 'version', 'time', 'ttl', 'message', 'reason']);
  const strip = (value, name) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString();
    if (Array.isArray(value)) return value.map((each) => strip(each));
    if (value === null || typeof value !== 'object') return value;
    if (typeof value.toNumber === 'function') return value.toNumber();
    if (name === 'presence' && value.presence) return { presence: Object.values(value.presence).map((each) => strip(each)) };
    // A map's entries have no order on the wire.
    if (name === 'tags') return Object.fromEntries(Object.entries(value).sort());
    return Object.fromEntries(Object.entries(value)
      .filter(([key]) => !own.has(key))
      .map(([key, inner]) => [key, strip(inner, key)]));
  };
  return patched(read(frames))
    .map((reply) => JSON.stringify(strip(reply)).replaceAll(run, PLACE))
    .filter((text) => text !== '{}')
    .sort();
}

/** Sends each step's bytes, and gives what was answered until its replies are all there. */
async function replay(t, steps, run, { at = url, protocols = ['centrifuge-protobuf'] } = {}) {
  const socket = new WebSocket(at, protocols);
  t.after(() => socket.terminate());
  let frames = [];
  let changed = () => {};
  socket.on('message', (data) => {
    frames.push(hex(data));
    changed();
  });
  await within(5_000, new Promise((resolve) => socket.once('open', resolve)), 'open');
  const answers = [];
  let [epoch, client] = ['', ''];
  for (const { what, send, calls = [], replies } of steps) {
    frames = [];
    if (send) socket.send(bytesOf(send, run, epoch));
    for (const [method, body] of calls) {
      const text = JSON.stringify(body).replaceAll(PLACE, run).replaceAll(CLIENT, client);
      await api(method, JSON.parse(text));
    }
    await within(5_000, new Promise((resolve) => {
      changed = () => meaning(frames, run).length >= replies && resolve();
      changed();
    }), what);
    for (const { connect, subscribe } of read(frames)) {
      client = connect?.client ?? client;
      epoch = subscribe?.epoch || epoch;
    }
    answers.push(frames);
  }
  return answers;
}

// What a token names stands under its signature, so it is the same in every run.
const lasting = { exp: 4_102_444_800 };
const closed = 'closed:recorded';
const bytes = (value) => Buffer.from(JSON.stringify(value));
const channel = `chat:${PLACE}`;
const tagged = `tagged:${PLACE}`;
const positioned = `tagged:${PLACE}-again`;
const deltas = `delta:${PLACE}`;
const given = `tagged:${PLACE}-given`;
const filter = { op: 'and', nodes: [{ key: 'a', cmp: 'eq', val: '1' }, { key: 'b', cmp: 'in', vals: ['x', 'y'] }] };
const documents = [1, 2, 3].map((n) => ({ n, text: 'The quick brown fox jumps over the lazy dog. '.repeat(4) }));
const publish = (channel, n, tags) => ['publish', { channel, data: { n }, ...tags && { tags } }];
/** Calls of the server API instead of commands. */
const call = (...calls) => ({ calls });
let id = 0;
// What is sent, and how many replies and pushes it brings.
const conversation = [
  ['connect', 1, { connect: { token: token('recorded', lasting), name: 'swift', version: '1.0' } }],
  ['subscribe', 2, { subscribe: { channel, flag: 1 } }],
  ['a second subscribe', 1, { subscribe: { channel } }],
  ['publish', 2, { publish: { channel, data: bytes({ text: 'h\u00e9 \u{1f600}', n: [1, 2.5, null] }) } }],
  ['a batch', 6, ...[1, 2, 3].map((n) => ({ publish: { channel, data: bytes(n) } }))],
  ['presence', 1, { presence: { channel } }],
  ['presence stats', 1, { presence_stats: { channel } }],
  ['the top of history', 1, { history: { channel } }],
  ['all history', 1, { history: { channel, limit: -1 } }],
  ['history backwards', 1, { history: { channel, limit: 2, reverse: true } }],
  ['history of another epoch', 1, { history: { channel, limit: 1, since: { offset: 1, epoch: 'none' } } }],
  ['rpc', 1, { rpc: { method: 'echo', data: bytes({ a: 1 }) } }],
  ['an rpc that does not exist', 1, { rpc: { method: 'nothing-like-it' } }],
  ['a channel that does not exist', 1, { subscribe: { channel: 'nowhere:a' } }],
  ['a channel that is closed', 1, { publish: { channel: 'closed:a', data: bytes(1) } }],
  ['history where there is none', 1, { history: { channel: `plain:${PLACE}`, limit: 1 } }],
  ['unsubscribe', 1, { unsubscribe: { channel } }],
  ['a position of another epoch', 2, { subscribe: { channel, recover: true, offset: 1, epoch: 'none' } }],
  ['refresh', 1, { refresh: { token: token('recorded', lasting) } }],
  ['a subscription token', 2, {
    subscribe: {
      channel: closed,
      token: token('recorded', { ...lasting, channel: closed, info: { seat: 7 } }),
    },
  }],
  ['a subscription token anew', 1, {
    sub_refresh: { channel: closed, token: token('recorded', { ...lasting, channel: closed }) },
  }],
  ['a subscription token of another channel', 1, {
    subscribe: { channel: 'closed:other', token: token('recorded', { ...lasting, channel: closed }) },
  }],
  ['a filter', 1, { subscribe: { channel: tagged, tf: filter } }],
  ['publications with tags', 2, call(
    publish(tagged, 1), publish(tagged, 2, { a: '1', b: 'z' }), publish(tagged, 3, { a: '1', b: 'y' }),
    publish(tagged, 4, { a: '2', b: 'x' }), publish(tagged, 5, { b: 'x', a: '1' }),
  )],
  ['history behind a filter', 1, { history: { channel: tagged, limit: 2 } }],
  ['what is no filter', 1, { subscribe: { channel: positioned, tf: { key: 'a', cmp: 'like', val: 'b' } } }],
  ['deltas', 1, { subscribe: { channel: deltas, delta: 'fossil' } }],
  ['publications as deltas', 6, ...documents.map((data) => ({ publish: { channel: deltas, data: bytes(data) } }))],
  ['deltas that are not allowed', 1, { subscribe: { channel: positioned, delta: 'fossil' } }],
  ['unsubscribe, to come back', 1, { unsubscribe: { channel: positioned } }],
  ['publications meanwhile', 0, call(...[1, 2, 3].map((n) => publish(positioned, n)))],
  ['a recovery', 1, { subscribe: { channel: positioned, recover: true, offset: 1, epoch: EPOCH } }],
  ['a publication after it', 1, call(publish(positioned, 4))],
  ['unsubscribe again', 1, { unsubscribe: { channel: positioned } }],
  ['a recovery of nothing', 1, { subscribe: { channel: positioned, recover: true, offset: 4, epoch: EPOCH } }],
  ['unsubscribe a third time', 1, { unsubscribe: { channel: positioned } }],
  ['a recovery through a filter', 1, {
    subscribe: { channel: positioned, recover: true, offset: 0, epoch: EPOCH, tf: { key: 'a', cmp: 'ex' } },
  }],
  ['the server subscribes', 1, call(
    ['subscribe', { user: 'recorded', client: CLIENT, channel: given, data: { why: 'call' } }],
  )],
  ['a publication there', 1, call(publish(given, 1))],
  ['the server unsubscribes', 1, call(['unsubscribe', { user: 'recorded', client: CLIENT, channel: given }])],
  ['the server ends what the client began', 1, call(['unsubscribe', { user: 'recorded', client: CLIENT, channel: deltas }])],
].map(([what, replies, ...commands]) => ({
  what,
  replies,
  ...(commands[0].calls ? commands[0] : {
    send: hex(codec.encodeCommands(commands.map((command) => ({ id: (id += 1), ...command })))),
  }),
}));

test('recorded answers', { skip: !recording && 'only with SDK_RECORD=1' }, async (t) => {
  const answers = await replay(t, conversation, PLACE);
  const steps = conversation.map((step, at) => ({ ...step, receive: answers[at] }));
  writeFileSync(file, `${JSON.stringify({ steps }, null, 1)}\n`);
});

for (const [what, how] of [
  ['the subprotocol', {}],
  ['format=protobuf', { at: `${url}?format=protobuf`, protocols: [] }],
]) {
  test(`recorded bytes are answered as the oracle answers them, by ${what}`, { skip: recording }, async (t) => {
    const { steps } = JSON.parse(readFileSync(file));
    const run = `r${randomBytes(8).toString('hex').slice(0, PLACE.length - 1)}`;
    const answers = await replay(t, steps, run, how);
    for (const [at, { what: step, receive }] of steps.entries()) {
      assert.deepEqual(meaning(answers[at], run), meaning(receive, PLACE), step);
    }
  });
}
