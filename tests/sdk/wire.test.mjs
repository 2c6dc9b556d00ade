// SDKs that cannot run here (Swift, Dart) speak the same Protobuf: bytes that such a client sends,
// and the bytes that the oracle answered, recorded. Both servers have to answer with the same
// meaning. `SDK_RECORD=1` against the oracle records anew.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { codecs } from './codecs.mjs';
import { token, url, within } from './helpers.mjs';

const file = new URL('wire.json', import.meta.url);
const recording = process.env.SDK_RECORD === '1';
const { codec } = codecs.protobuf;

// Stands in recorded bytes for a name of the same length that no other run uses.
const PLACE = 'recorded-0000000';
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const named = (text, run) => text.replaceAll(hex(Buffer.from(PLACE)), hex(Buffer.from(run)));

/** What replies mean, without what is of one run or one server; pings are passed over. */
function meaning(frames, run) {
  const replies = frames.flatMap((frame) => codec.decodeReplies(Buffer.from(frame, 'hex')));
  const own = new Set(['client', 'epoch', 'node', 'session', 'version', 'time', 'ttl', 'message', 'reason']);
  const strip = (value, name) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString();
    if (Array.isArray(value)) return value.map((each) => strip(each));
    if (value === null || typeof value !== 'object') return value;
    if (typeof value.toNumber === 'function') return value.toNumber();
    if (name === 'presence' && value.presence) return { presence: Object.values(value.presence).map((each) => strip(each)) };
    return Object.fromEntries(Object.entries(value)
      .filter(([key]) => !own.has(key))
      .map(([key, inner]) => [key, strip(inner, key)]));
  };
  return replies
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
  for (const { what, send, replies } of steps) {
    frames = [];
    socket.send(Buffer.from(named(send, run), 'hex'));
    await within(5_000, new Promise((resolve) => {
      changed = () => meaning(frames, run).length >= replies && resolve();
      changed();
    }), what);
    answers.push(frames);
  }
  return answers;
}

// What a token names stands under its signature, so it is the same in every run.
const lasting = { exp: 4_102_444_800 };
const closed = 'closed:recorded';
const bytes = (value) => Buffer.from(JSON.stringify(value));
const channel = `chat:${PLACE}`;
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
].map(([what, replies, ...commands]) => ({
  what,
  replies,
  send: hex(codec.encodeCommands(commands.map((command) => ({ id: (id += 1), ...command })))),
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
