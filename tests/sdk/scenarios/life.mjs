// How long a connection lives.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { channel, collect, numbers, url } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, pack, unpack } = kit;

  test('under traffic, pings keep a client for 30 s, and end a stopped one with 3012', async (t) => {
    const name = channel();
    const publisher = await connect(t);
    // One second more than the ping interval without a ping, and the SDK would reconnect.
    const listener = await connect(t, { maxServerPingDelay: 1_000 });
    const heard = await subscribe(listener, name);
    const reconnects = collect(listener, 'connecting');
    const leaves = collect(heard, 'leave');

    const child = spawn(process.execPath, [new URL('../stopped.mjs', import.meta.url).pathname, url, name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout });
    assert.deepEqual(await once(lines, 'line'), ['subscribed']);
    child.kill('SIGSTOP');
    const code = leaves.reach(1, 15_000).then(() => {
      const line = once(lines, 'line');
      child.kill('SIGCONT');
      return line;
    });

    const start = Date.now();
    for (const n of numbers(300)) {
      await sleep(Math.max(0, start + n * 100 - Date.now()));
      await publisher.publish(name, pack({ n }));
    }
    assert.deepEqual((await heard.publications.reach(300)).map(({ data }) => unpack(data).n), numbers(300));
    assert.deepEqual(reconnects.seen, []);
    assert.deepEqual(await code, ['3012']);
  });
}
