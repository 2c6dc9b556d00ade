// Fields of the protocol that this version does not carry out, in each codec: 108 wherever they ask
// for something, and nothing of the command is done. What nobody knows is passed over. The oracle
// knows none of these fields.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Packr } from 'msgpackr';
import { channel, corecast, kit } from './helpers.mjs';

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** A value of `data`: each codec has its own form of it. */
class Payload {
  constructor(value) { this.value = value; }
}

/** One field; a message is a list of them, a map an object. */
const field = (name, number, value) => ({ name, number, value });
const isMessage = (value) => Array.isArray(value) && typeof value[0] === 'object';

function named(value) {
  if (isMessage(value)) return Object.fromEntries(value.map((it) => [it.name, named(it.value)]));
  return value instanceof Payload ? value.value : value;
}

function numbered(value) {
  if (isMessage(value)) return new Map(value.map((it) => [it.number, numbered(it.value)]));
  return value instanceof Payload ? value.value : value;
}

function varint(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return Buffer.from([...bytes, value]);
}

const sized = (bytes) => Buffer.concat([varint(bytes.length), bytes]);
const delimited = (number, bytes) => Buffer.concat([varint(number * 8 + 2), sized(bytes)]);

function protobuf(message) {
  return Buffer.concat(message.flatMap(({ number, value }) => {
    if (typeof value === 'number' || typeof value === 'boolean') {
      return [varint(number * 8), varint(Number(value))];
    }
    if (typeof value === 'string') return [delimited(number, Buffer.from(value))];
    if (value instanceof Payload) return [delimited(number, Buffer.from(JSON.stringify(value.value)))];
    if (isMessage(value)) return [delimited(number, protobuf(value))];
    if (Array.isArray(value)) return value.map((each) => delimited(number, Buffer.from(each)));
    return Object.entries(value).map(([key, each]) => delimited(number, protobuf([
      field('key', 1, key), field('value', 2, each),
    ])));
  }));
}

const encoders = {
  json: (message) => JSON.stringify(named(message)),
  msgpack: (message) => packr.pack(numbered(message)),
  protobuf: (message) => sized(protobuf(message)),
};

const nothing = {};
const id = (number) => field('id', 1, number);
const connect = (...more) => field('connect', 4, [field('version', 5, 'x'), ...more]);
const subscribe = (name, ...more) => field('subscribe', 5, [field('channel', 1, name), ...more]);
const publish = (name, data, ...more) =>
  field('publish', 7, [field('channel', 1, name), field('data', 2, new Payload(data)), ...more]);
const ping = field('ping', 11, [field('unknown', 77, 1)]);
const send = field('send', 12, [field('data', 1, new Payload(1))]);
const attributes = field('attributes', 1000, [field('set', 1, { room: 'a' })]);

// What a publish may ask for, and what asks for nothing.
const wishes = [
  field('users', 1006, ['alice']), field('prio', 1001, 2), field('ttl_ms', 1002, 5),
  field('audience', 1004, [field('key', 2, 'a'), field('cmp', 3, 'ex')]),
  field('key', 4, 'k'), field('drop', 1007, true), field('type', 3, 1), field('removed', 5, true),
];
const empty = [
  field('users', 1006, []), field('prio', 1001, 0), field('ttl_ms', 1002, 0),
  field('audience', 1004, nothing), field('key', 4, ''), field('drop', 1007, false),
  field('type', 3, 0), field('removed', 5, false),
];

describe('extensions', { skip: !corecast && 'the oracle has none', concurrency: true }, () => {
  for (const name of Object.keys(encoders)) {
    const { raw, unpack } = kit(name);

    /** A connection that sends what no SDK could, past its connect command. */
    const connected = async (t) => {
      const connection = await raw(t);
      const tell = (...message) => connection.socket.send(encoders[name](message));
      const ask = async (number, ...message) => {
        tell(id(number), ...message);
        const reply = await connection.reply(number);
        return reply.error?.code ?? 0;
      };
      return { ...connection, tell, ask };
    };

    test(`${name}: connect data that nests too deep is 107, and the next connect is taken`, async (t) => {
      const connection = await connected(t);
      const nested = (levels) => Array.from({ length: levels - 1 }).reduce((inner) => [inner], []);
      const within = connect(field('data', 2, new Payload(nested(64))));
      const over = connect(field('data', 2, new Payload(nested(65))));
      // In Protobuf it is bytes, which nobody reads.
      assert.equal(await connection.ask(1, over), name === 'protobuf' ? 0 : 107);
      if (name !== 'protobuf') assert.equal(await connection.ask(2, within), 0);
      assert.equal(await connection.ask(3, ping), 0);
    });

    test(`${name}: attributes are 108 with every command, and alone`, async (t) => {
      const room = channel('plain');
      const connection = await connected(t);
      assert.equal(await connection.ask(1, connect(), attributes), 108);
      assert.equal(await connection.ask(2, connect()), 0);
      assert.equal(await connection.ask(3, subscribe(room), attributes), 108);
      assert.equal(await connection.ask(4, subscribe(room)), 0, 'nothing was subscribed before');
      assert.equal(await connection.ask(5, publish(room, 'refused'), attributes), 108);
      assert.equal(await connection.ask(6, attributes), 108);
      assert.equal(await connection.ask(7, ping, attributes), 108);
      assert.equal(await connection.ask(8, send, attributes), 108);
      assert.equal(await connection.ask(9, publish(room, 'told')), 0);
      assert.equal(unpack((await connection.push('pub')).push.pub.data), 'told');
      // They ask for nothing.
      assert.equal(await connection.ask(10, ping, field('attributes', 1000, nothing)), 0);
    });

    test(`${name}: a send without an id is not answered, whatever it carries`, async (t) => {
      const connection = await connected(t);
      assert.equal(await connection.ask(1, connect()), 0);
      const heard = [];
      const { onmessage } = connection.socket;
      connection.socket.onmessage = (event) => {
        heard.push(...kit(name).codec.codec.decodeReplies(event.data));
        onmessage(event);
      };
      connection.tell(send, attributes);
      assert.equal(await connection.ask(2, ping), 0);
      assert.ok(heard.every((reply) => !reply.error), JSON.stringify(heard));
    });

    test(`${name}: a publication that asks for more is 108, and told to nobody`, async (t) => {
      const room = channel('plain');
      const connection = await connected(t);
      assert.equal(await connection.ask(1, connect()), 0);
      assert.equal(await connection.ask(2, subscribe(room)), 0);
      let number = 2;
      for (const wish of wishes) {
        number += 1;
        assert.equal(await connection.ask(number, publish(room, 'refused', wish)), 108, wish.name);
      }
      for (const wish of empty) {
        number += 1;
        assert.equal(await connection.ask(number, publish(room, wish.name, wish)), 0, wish.name);
        assert.equal(unpack((await connection.push('pub')).push.pub.data), wish.name);
      }
    });

    test(`${name}: a subscription of another kind is 108`, async (t) => {
      const room = channel('plain');
      const connection = await connected(t);
      assert.equal(await connection.ask(1, connect()), 0);
      assert.equal(await connection.ask(2, subscribe(room, field('type', 15, 1))), 108);
      assert.equal(await connection.ask(3, subscribe(room, field('type', 15, 200))), 108);
      assert.equal(await connection.ask(4, subscribe(room, field('type', 15, 0))), 0);
    });

    test(`${name}: keys of a shared poll are 108`, async (t) => {
      const room = channel('plain');
      const connection = await connected(t);
      const refresh = (...more) => field('sub_refresh', 15, [field('channel', 1, room), ...more]);
      assert.equal(await connection.ask(1, connect()), 0);
      assert.equal(await connection.ask(2, subscribe(room)), 0);
      let number = 2;
      for (const wish of [field('type', 3, 1), field('track', 4, [field('signature', 1, 's')]), field('untrack', 5, ['k'])]) {
        number += 1;
        assert.equal(await connection.ask(number, refresh(wish)), 108, wish.name);
      }
    });

    test(`${name}: unknown fields and flags are passed over`, async (t) => {
      const room = channel('plain');
      const connection = await connected(t);
      const unknown = (number) => [field(`x${number}`, number, 1), field('y', 2_000, [field('z', 3, 'a')])];
      const flag = (number) => field('flag', number, 0x7fff_ffff);
      assert.equal(await connection.ask(1, connect(flag(7), ...unknown(99)), ...unknown(500)), 0);
      assert.equal(await connection.ask(2, subscribe(room, flag(14), ...unknown(1_001)), ...unknown(999)), 0);
      assert.equal(await connection.ask(3, publish(room, 1, ...unknown(1_008)), ...unknown(1_001)), 0);
      assert.equal(unpack((await connection.push('pub')).push.pub.data), 1);
    });
  }
});
