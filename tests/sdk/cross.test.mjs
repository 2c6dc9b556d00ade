// Publications from clients of each codec reach clients of every codec, with the same content, live,
// recovered and from history. What SDKs can say runs against Corecast and against the oracle; byte by
// byte, and with everybody on a worker of their own, against Corecast alone.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cast, open } from './exact.mjs';
import { api, channel, corecast, kit, lacks, next, numbers, offset, refusal } from './helpers.mjs';
import {
  blobAs, blobs, dice, packed, packedCase, randomPacked, randomText, refusedDepths, refusedTexts, textCase, texts,
} from './payloads.mjs';
import { jsonMeaning, oneLine, packMeaning, readJson, readMessagePack, saysAs } from './reference.mjs';

const values = [
  { text: 'h\u00e9llo \u{1f600} \u2028 "quoted" \\ \u0000' },
  { deep: [[[[{ a: { b: { c: [null, true, false] } } }]]]] },
  [0, -1, 127, 128, -32, -33, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, -2_147_483_649],
  [2 ** 53 - 1, -(2 ** 53 - 1), 1.5, -0.1, 1e300, 5e-324, 0.1 + 0.2],
  'a string', '', 'x'.repeat(255), '\u00e9'.repeat(20_000), 42, 0, true, false, [], {}, [{}], { '': '' },
  Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`key ${n}`, n])),
  { '1': 'a key that is a number', __proto__x: 1, 'a.b': [] },
];

const codecs = ['json', 'protobuf', 'msgpack'].filter((name) => !lacks(name));
const kits = codecs.flatMap((codec) => [kit(codec, 'ws'), kit(codec, 'undici')]);

/** A connected SDK client on a worker that `isRight` says of; reconnects until it is. */
async function connectWhere(t, each, room, isRight) {
  for (let tries = 0; tries < 200; tries += 1) {
    const sdk = await each.connect(t);
    if (!corecast) return { sdk };
    const { worker, home } = each.unpack((await sdk.rpc('where', each.pack({ channel: room }))).data);
    if (isRight(worker, home)) return { sdk, worker };
    sdk.disconnect();
  }
  throw new Error('no connection came to the right worker in 200 tries');
}

describe('cross-codec', { concurrency: true }, () => {
  for (const name of codecs) {
    test(`from ${name} to ${codecs.join(', ')}`, async (t) => {
      const room = channel();
      const from = kit(name);
      const { sdk: publisher, worker: theirs } = await connectWhere(t, from, room, (worker, home) => worker !== home);
      const to = await Promise.all(kits.map(async (each) => {
        const isApart = (worker, home) => ![theirs, home].includes(worker);
        const { sdk } = await connectWhere(t, each, room, isApart);
        return { ...each, sdk, room: await each.subscribe(sdk, room) };
      }));
      const publish = async () => {
        for (const value of values) await publisher.publish(room, from.pack(value));
      };
      await publish();
      await Promise.all(to.map(({ room }) => room.publications.reach(values.length)));
      const away = to.map(({ sdk }) => {
        sdk.hold();
        const connecting = next(sdk, 'connecting');
        sdk.kill();
        return connecting;
      });
      await Promise.all(away);
      await publish();
      for (const { sdk } of to) sdk.release();
      await Promise.all(to.map(({ room }) => room.publications.reach(2 * values.length)));
      await publish();
      for (const { name, sdk, room: heard, unpack } of to) {
        const publications = await heard.publications.reach(3 * values.length);
        const expected = [...values, ...values, ...values];
        assert.deepEqual(publications.map(offset), expected.map((_, n) => n + 1), name);
        for (const [n, { data }] of publications.entries()) assert.deepEqual(unpack(data), expected[n], name);
        const kept = (await sdk.history(room, { limit: values.length })).publications;
        for (const [n, { data }] of kept.entries()) assert.deepEqual(unpack(data), values[n], name);
      }
    });
  }

  test('rpc echoes what was sent, in every codec', async (t) => {
    for (const each of kits) {
      const sdk = await each.connect(t);
      for (const value of values) {
        assert.deepEqual(each.unpack((await sdk.rpc('echo', each.pack(value))).data), value, each.name);
      }
    }
  });
});

/** What every codec's subscriber has to get in a `json` namespace, where this text is kept. */
function checkJson(codec, text, got) {
  if (codec === 'msgpack') assert.equal(packMeaning(readMessagePack(got).node), jsonMeaning(readJson(text)), String(text));
  else assert.equal(String(got), String(text));
}

/** In a `binary` namespace. */
function checkBlob(codec, sent, got) {
  const { kind, value } = codec === 'json' ? readJson(got)
    : codec === 'msgpack' ? readMessagePack(got).node : { kind: 'bytes', value: got };
  assert.equal(kind, { json: 'string', msgpack: 'bin', protobuf: 'bytes' }[codec]);
  if (codec === 'json') assert.equal(value, sent.blob.toString('base64'));
  else assert.deepEqual(value, sent.blob);
}

/** Publishes all cases, and expects 107 for those that are not allowed; gives the others. */
async function publishAll(publisher, room, cases) {
  const allowed = [];
  for (const each of cases) {
    const { error, closed } = await publisher.publish(room, each.data);
    const what = `${publisher.name}: ${each.data.subarray(0, 60).toString('hex')} ${each.data.subarray(0, 60)}`;
    assert.deepEqual([error, closed], [each.isAllowed ? 0 : 107, undefined], what);
    if (each.isAllowed) allowed.push(each);
  }
  return allowed;
}

/** The same cases live, from history and recovered, in every codec, on workers of their own. */
async function crossing(t, people, namespace, publisher, cases, check) {
  const [{ channel: room, home }, listeners] = await Promise.all([people.channel(namespace), people.subscribers()]);
  for (const { worker } of listeners) assert.equal(new Set([home, people.p, worker]).size, 3);
  const epochs = await Promise.all(listeners.map(async (each) => (await each.command({ subscribe: { channel: room } })).epoch));
  const sent = await publishAll(publisher, room, cases);
  assert.ok(sent.length > 0 && sent.length <= 1000, `${sent.length} allowed`);
  await Promise.all(listeners.map((each) => each.reach(sent.length)));
  // A reference for JSON text from MessagePack; whoever publishes text has said it himself.
  const texts = listeners.find(({ codec }) => codec === 'json').pushed.map(({ data }) => data);
  for (const { codec, pushed } of listeners) {
    assert.deepEqual(pushed.map(({ offset }) => offset), numbers(sent.length, 1), codec);
    for (const [n, { data }] of pushed.entries()) check(codec, sent[n], data, texts[n]);
  }
  const late = await people.subscribers();
  await Promise.all(late.map(async (each, n) => {
    assert.equal(each.codec, listeners[n].codec);
    const history = await each.command({ history: { channel: room, limit: -1 } });
    const back = await each.command({ subscribe: { channel: room, recover: true, offset: 0, epoch: epochs[n] } });
    assert.equal(back.recovered, true);
    assert.deepEqual(history.publications, listeners[n].pushed, `history to ${each.codec}`);
    assert.deepEqual(back.publications, listeners[n].pushed, `recovered by ${each.codec}`);
  }));
  for (const each of [...listeners, ...late]) each.end();
}

// JSON alone frames its payload by reading it: what is no value at all ends such a connection.
const textsFor = (name) => [...texts, ...(['protobuf', 'api b64data'].includes(name) ? refusedTexts : refusedDepths)];

describe('payloads byte by byte', { skip: !corecast && 'the oracle has neither codecs nor namespaces for it' }, () => {
  test('JSON payloads of the table, and random ones', async (t) => {
    const people = await cast(t);
    for (const publisher of people.publishers) {
      const random = dice(0xc0de);
      const cases = publisher.codec === 'msgpack'
        ? [...packed, ...Array.from({ length: 400 }, () => randomPacked(random))].map(packedCase)
        : [...textsFor(publisher.name), ...Array.from({ length: 300 }, () => randomText(random))].map(textCase);
      await crossing(t, people, 'tagged', publisher, cases, (codec, sent, got, text) => {
        if (publisher.codec !== 'msgpack') checkJson(codec, readJson(oneLine(sent.data)).raw, got);
        else {
          assert.equal(saysAs(readJson(text), readMessagePack(sent.data).node), undefined);
          checkJson(codec, text, got);
        }
      });
    }
  });

  test('binary payloads of the table, and random ones', async (t) => {
    const people = await cast(t);
    for (const publisher of people.publishers) {
      const random = dice(0xb10b);
      const all = [...blobs, ...Array.from({ length: 200 }, () => random.bytes(1 + random.below(300)))];
      const allowed = all.map((blob, n) => ({ blob, data: blobAs(publisher.codec, blob, n % 2 === 0), isAllowed: true }));
      const refused = {
        json: ['1', 'null', '{}', '["AA=="]', '"?"', '"A"', '"-_8="', '"A A="', '"AAAA===="'],
        msgpack: ['\u0001', '\u00a1a', '\u00c0', '\u0090', '\u00d4\u0001\u0000'],
        protobuf: [],
      }[publisher.codec].map((data) => ({ data: Buffer.from(data, 'latin1'), isAllowed: false }));
      await crossing(t, people, 'binary', publisher, [...allowed, ...refused], checkBlob);
    }
  });

  // In Protobuf an empty field is one that is not there; without a value the other codecs cannot be read.
  test('no bytes are bytes, and no value is none', async (t) => {
    const refusals = async (namespace, empty) => {
      const answers = await Promise.all(Object.entries(empty).map(async ([codec, data]) => {
        const { error, closed } = await (await open(t, codec)).publish(`${namespace}:empty`, Buffer.from(data, 'latin1'));
        return [codec, error ?? closed ?? 0];
      }));
      return Object.fromEntries(answers);
    };
    assert.deepEqual(await refusals('binary', { json: '""', protobuf: '', msgpack: '\xc4\x00' }),
      { json: 0, protobuf: 0, msgpack: 0 });
    assert.deepEqual(await refusals('plain', { json: '', protobuf: '', msgpack: '' }),
      { json: 3501, protobuf: 107, msgpack: 3501 });
    await api('publish', { channel: 'binary:empty', data: '' });
    for (const body of [{}, { b64data: '' }]) {
      assert.equal((await refusal(api('publish', { channel: 'binary:empty', ...body }))).code, 107);
    }
    for (const body of [{}, { b64data: '' }, { b64data: 'IA==' }]) {
      assert.equal((await refusal(api('publish', { channel: 'plain:empty', ...body }))).code, 107);
    }
  });
});
