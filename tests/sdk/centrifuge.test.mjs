// The table of what applications do with the unmodified npm `centrifuge` SDK, for every codec and
// both WebSocket implementations. Runs against Corecast and against the oracle.
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { kit, lacks } from './helpers.mjs';

const kits = ['json', 'protobuf', 'msgpack'].flatMap((codec) => ['ws', 'undici'].map((socket) => kit(codec, socket)));
const folder = new URL('scenarios/', import.meta.url);
const scenarios = await Promise.all(readdirSync(folder).map((file) => import(new URL(file, folder))));

describe('SDK', { concurrency: true }, () => {
  for (const kit of kits) {
    if (lacks(kit.codec.name)) {
      test(kit.name, { skip: 'the server has no such codec' });
      continue;
    }
    describe(kit.name, { concurrency: 3 }, () => {
      const declare = (name, ...rest) => {
        const run = rest.pop();
        const missing = lacks(...(rest[0]?.needs ?? []));
        test(name, { skip: missing && `the server has no ${missing}` }, run);
      };
      for (const { default: scenario } of scenarios) scenario(kit, declare);
    });
  }
});
