// Publications from clients of each codec reach clients of every codec, with the same content, live,
// recovered and from history. Runs against Corecast and against the oracle.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { channel, kit, lacks, next, offset } from './helpers.mjs';

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

describe('cross-codec', { concurrency: true }, () => {
  for (const name of codecs) {
    test(`from ${name} to ${codecs.join(', ')}`, async (t) => {
      const room = channel();
      const from = kit(name);
      const publisher = await from.connect(t);
      const to = await Promise.all(kits.map(async (each) => {
        const sdk = await each.connect(t);
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
