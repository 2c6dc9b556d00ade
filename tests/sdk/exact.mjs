// Clients that send and receive payloads as the bytes they are: an SDK would round numbers, merge
// names and hide which worker serves it. Only for Corecast: they ask it where they are.
import { Agent, request } from 'node:http';
import WebSocket from 'ws';
import { codecs } from './codecs.mjs';
import { url, within } from './helpers.mjs';
import { readJson, readMessagePack } from './reference.mjs';

const text = (value) => Buffer.from(JSON.stringify(value));
const number = (node) => Number(node?.value ?? 0);

/** A publication's raw payload and offset, from what a reader made of the message. */
const publication = (get, pub) => ({ data: get(pub, 'data', 4).raw, offset: number(get(pub, 'offset', 6)) });

/** What a test asks of a reply, from a tree of names (JSON) or of the schema's numbers. */
function reply(get, message) {
  const inner = (...path) => path.reduce((node, [name, field]) => node && get(node, name, field), message);
  const list = (node) => (node?.items ?? []).map((pub) => publication(get, pub));
  const pushed = inner(['push', 4], ['pub', 4]);
  const subscribed = inner(['subscribe', 6]);
  const history = inner(['history', 11]);
  const epoch = subscribed && get(subscribed, 'epoch', 6);
  return {
    id: number(inner(['id', 1])),
    isPing: !message.entries.length,
    error: number(inner(['error', 2], ['code', 1])),
    pushed: pushed && publication(get, pushed),
    publications: list((subscribed && get(subscribed, 'publications', 7)) ?? (history && get(history, 'publications', 1))),
    recovered: (subscribed && get(subscribed, 'recovered', 8))?.value === true,
    epoch: epoch && String(epoch.value),
    rpc: inner(['rpc', 13], ['data', 1])?.raw,
  };
}

const entry = (node, key) => node.entries.find(([name]) => String(name.value) === key)?.[1];

/** The codecs, as far as payloads go: `publish` and `rpc` take the payload's bytes. */
const wires = {
  json: {
    encode: (command) => text(command),
    publish: (id, channel, data) => Buffer.concat([
      Buffer.from(`{"id":${id},"publish":{"channel":${JSON.stringify(channel)},"data":`), data, Buffer.from('}}'),
    ]),
    value: (value) => value,
    where: (data) => JSON.parse(data),
    decode: (bytes) => String(bytes).split('\n').filter(Boolean)
      .map((line) => reply((node, name) => entry(node, name), readJson(Buffer.from(line)))),
  },
  protobuf: {
    encode: (command) => Buffer.from(codecs.protobuf.codec.encodeCommands([command])),
    publish: (id, channel, data) => wires.protobuf.encode({ id, publish: { channel, data } }),
    value: text,
    where: (data) => JSON.parse(data),
    decode: (bytes) => codecs.protobuf.codec.decodeReplies(bytes).map(({ id, error, push, subscribe, history, rpc }) => {
      const read = ({ data, offset }) => ({ data: Buffer.from(data), offset: Number(offset) });
      return {
        id: Number(id ?? 0),
        isPing: !id && !push,
        error: error?.code ?? 0,
        pushed: push?.pub ? read(push.pub) : undefined,
        publications: ((subscribe ?? history)?.publications ?? []).map(read),
        recovered: subscribe?.recovered === true,
        epoch: subscribe?.epoch,
        rpc: rpc && Buffer.from(rpc.data),
      };
    }),
  },
  msgpack: {
    encode: (command) => Buffer.from(codecs.msgpack.codec.encodeCommands([command])),
    publish: (id, channel, data) => {
      const name = Buffer.from(channel);
      const head = Buffer.from([0x82, 1, 0xcd, id >> 8, id & 255, 7, 0x82, 1, 0xd9, name.length]);
      return Buffer.concat([head, name, Buffer.from([2]), data]);
    },
    value: (value) => value,
    where: (data) => {
      const answer = readMessagePack(data).node;
      return { worker: number(entry(answer, 'worker')), home: number(entry(answer, 'home')) };
    },
    decode: (bytes) => {
      const replies = [];
      for (let at = 0; at < bytes.length;) {
        const { node, end } = readMessagePack(bytes, at);
        replies.push(reply((map, _, field) => entry(map, String(field)), node));
        at = end;
      }
      return replies;
    },
  },
};

/** A connection of one codec; `publish` takes the payload's bytes, and all that comes has them. */
async function open(t, codec) {
  const wire = wires[codec];
  const socket = new WebSocket(url, codecs[codec].subprotocol ?? []);
  t.after(() => socket.terminate());
  const answers = new Map();
  const pushed = [];
  let closed;
  let changed = () => {};
  let id = 0;
  socket.on('error', () => {});
  socket.on('close', (code) => {
    closed = code;
    for (const answer of answers.values()) answer({ closed });
  });
  socket.on('message', (bytes) => {
    for (const each of wire.decode(bytes)) {
      if (each.isPing) socket.send(wire.encode({}), { binary: codecs[codec].binary });
      else if (each.pushed) pushed.push(each.pushed);
      else if (answers.has(each.id)) answers.get(each.id)(each);
    }
    changed();
  });
  await within(5_000, new Promise((resolve) => socket.once('open', resolve)), 'open');
  const ask = (make) => {
    id += 1;
    const mine = id;
    const answer = new Promise((resolve) => answers.set(mine, resolve));
    socket.send(make(mine), { binary: codecs[codec].binary });
    return within(10_000, answer, `an answer to ${codec}`).finally(() => answers.delete(mine));
  };
  const command = (body) => ask((id) => wire.encode({ id, ...body }));
  await command({ connect: {} });
  return {
    name: codec,
    codec,
    command,
    pushed,
    publish: (channel, data) => ask((id) => wire.publish(id, channel, data)),
    where: async (channel) => wire.where((await command({ rpc: { method: 'where', data: wire.value({ channel }) } })).rpc),
    reach: (count) => within(20_000, new Promise((resolve) => {
      changed = () => pushed.length >= count && resolve();
      changed();
    }), `${count} publications to ${codec}`),
    end: () => socket.terminate(),
  };
}

/** The server API over one kept connection, so that it stays with one worker. */
function api(t) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const call = (method, body) => new Promise((resolve, reject) => {
    const to = new URL(`/api/${method}`, url.replace(/^ws/, 'http'));
    const headers = { 'X-API-Key': 'sdk-tests', 'Content-Length': body.length };
    const asked = request(to, { agent, method: 'POST', headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve(JSON.parse(Buffer.concat(parts))));
    });
    asked.on('error', reject);
    asked.end(body);
  });
  const publish = (field, write) => async (channel, data) => {
    const head = `{"channel":${JSON.stringify(channel)},"${field}":`;
    const { error } = await call('publish', Buffer.concat([Buffer.from(head), write(data), Buffer.from('}')]));
    return { error: error?.code ?? 0 };
  };
  return {
    where: async (channel) => (await call('rpc', text({ method: 'where', params: { channel } }))).result.data,
    data: { name: 'api data', codec: 'json', publish: publish('data', (data) => data) },
    b64data: { name: 'api b64data', codec: 'protobuf', publish: publish('b64data', (data) => text(data.toString('base64'))) },
    end: () => agent.destroy(),
  };
}

/** Makes again what `make` makes, until `channel`'s worker for it is as it should be. */
async function placed(make, channel, isRight) {
  for (let tries = 0; tries < 200; tries += 1) {
    const made = await make();
    const { worker } = await made.where(channel);
    if (isRight(worker)) return Object.assign(made, { worker });
    made.end();
  }
  throw new Error('no connection came to the right worker in 200 tries');
}

/** A channel whose home is none of `others`. */
async function channelAwayFrom(connection, namespace, others) {
  for (let tries = 0; tries < 200; tries += 1) {
    const channel = `${namespace}:${Math.random().toString(36).slice(2)}`;
    const { home } = await connection.where(channel);
    if (!others.includes(home)) return { channel, home };
  }
  throw new Error('no channel has the right home');
}

/**
 * Publishers of every kind on one worker, and `subscribers()` of every codec on two others; the
 * fourth is the home of the channels that `channel(namespace)` gives.
 */
export async function cast(t) {
  const first = await open(t, 'json');
  const { worker: p } = await first.where('plain:');
  const onP = (make) => placed(make, 'plain:', (worker) => worker === p);
  const calls = await onP(() => api(t));
  const publishers = [first, await onP(() => open(t, 'protobuf')), await onP(() => open(t, 'msgpack')), calls.data, calls.b64data];
  const [s1, s2] = [0, 1, 2, 3].filter((worker) => worker !== p);
  const subscribers = () => Promise.all([['json', s1], ['protobuf', s2], ['msgpack', s1], ['msgpack', s2], ['json', s2], ['protobuf', s1]]
    .map(([codec, at]) => placed(() => open(t, codec), 'plain:', (worker) => worker === at)));
  return { publishers, p, subscribers, channel: (namespace) => channelAwayFrom(first, namespace, [p, s1, s2]) };
}

export { open };
