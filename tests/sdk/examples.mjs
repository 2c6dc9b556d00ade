// The session of docs/protocol.md, README's program for an SDK, and the programs of examples/, started
// by the commands of their READMEs, in headless Chromium.
// Usage: node examples.mjs CORECAST_BINARY
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';

const binary = process.argv[2];
const root = fileURLToPath(new URL('../../', import.meta.url));

async function free_port() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until an address answers. */
async function answers(url, child) {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${child.spawnargs.join(' ')} ended: ${child.exitCode}`);
    const ok = await fetch(url).then((answer) => answer.ok, () => false);
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Ends a program, and says its code. */
async function end(child) {
  if (child.exitCode !== null) return child.exitCode;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  return (await ended)[0];
}

/** The two commands of an example's README, run as they are written but for the ports. */
async function start(name) {
  const readme = await readFile(join(root, 'examples', name, 'README.md'), 'utf8');
  const block = /```sh\n([^`]+)```/.exec(readme)[1];
  const lines = block.trim().split('\n').map((line) => line.replace(/\s+#.*/, ''));
  assert.equal(lines.length, 2, block);
  const prefix = 'cargo run --release -- ';
  assert.ok(lines[0].startsWith(prefix), lines[0]);
  const [port, page_port] = [await free_port(), await free_port()];
  const run = (command, args, env) => spawn(command, args, {
    cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit'],
  });
  const server = run(binary, lines[0].slice(prefix.length).split(' '), {
    CORECAST_LISTEN: `127.0.0.1:${port}`,
  });
  await answers(`http://127.0.0.1:${port}/health`, server);
  const [command, ...args] = lines[1].split(' ');
  const backend = run(command, args, {
    PORT: String(page_port), CORECAST_URL: `http://127.0.0.1:${port}`,
  });
  const page = `http://127.0.0.1:${page_port}`;
  await answers(page, backend);
  const stop = async () => {
    await end(backend);
    assert.equal(await end(server), 0, 'the server ends in order');
  };
  return { page, stop };
}

const profile = await mkdtemp(join(tmpdir(), 'corecast-examples-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  timeout: 60_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
context.setDefaultTimeout(90_000);
const errors = [];

/** A tab that is connected, and what its WebSockets received. */
async function open(url) {
  const tab = await context.newPage();
  const frames = [];
  tab.on('pageerror', (error) => errors.push(`${url}: ${error.message}`));
  tab.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => frames.push(String(payload))));
  await tab.goto(url);
  await tab.locator('#state', { hasText: /^connected$/ }).waitFor();
  return { tab, frames };
}

const publications = (frames, channel) => frames
  .flatMap((frame) => frame.split('\n')).filter((line) => line)
  .map((line) => JSON.parse(line).push)
  .filter((push) => push?.pub && (push.channel === channel || push.id !== undefined));

async function chat(page) {
  const { tab: alice } = await open(`${page}/?name=alice`);
  const { tab: bob } = await open(`${page}/?name=bob`);
  await alice.locator('#here', { hasText: 'alice, bob' }).waitFor();
  const say = async (tab, text) => {
    await tab.locator('#text').fill(text);
    await tab.locator('#say button').click();
  };
  await say(alice, 'hello <b>Bob</b>');
  await bob.locator('#messages li', { hasText: 'alice: hello <b>Bob</b>' }).waitFor();
  await say(bob, 'hello Alice');
  await alice.locator('#messages li', { hasText: 'bob: hello Alice' }).waitFor();
  const { tab: carol } = await open(`${page}/?name=carol`);
  await carol.locator('#messages li').nth(1).waitFor();
  assert.deepEqual(await carol.locator('#messages li').allTextContents(),
    ['alice: hello <b>Bob</b>', 'bob: hello Alice']);
  await bob.close();
  await alice.locator('#here', { hasText: /^alice, carol$/ }).waitFor();
  console.log('ok: chat: messages, history for a newcomer, who is here');
}

async function prices(page) {
  const { tab, frames } = await open(page);
  await tab.locator('#prices tr').nth(7).waitFor();
  const trades = tab.locator('#trades li');
  await trades.first().waitFor();
  for (const text of await trades.allTextContents()) assert.match(text, /^ALFA: [1-5]\d\d at \d+\.\d\d$/);
  // Lines of the wire: deltas are shorter than the table, and no other symbol's trade came.
  const lines = frames.flatMap((frame) => frame.split('\n'));
  const deltas = lines.filter((line) => line.includes('"delta":true'));
  assert.ok(deltas.length > 0, `${deltas.length} deltas in ${lines.length} lines`);
  const sent = lines.filter((line) => line.includes('"size"'));
  assert.ok(sent.length >= 1 && sent.every((line) => line.includes('ALFA')), sent.join('\n'));
  // A tab that opens is shown the table at once: its subscribe reply has it.
  const { tab: second, frames: first } = await open(page);
  await second.locator('#prices tr').nth(7).waitFor();
  const replies = first.flatMap((frame) => frame.split('\n')).filter((line) => line.includes('"subscribe":'));
  assert.ok(replies.some((line) => line.includes('ALFA')), replies.join('\n'));
  console.log(`ok: prices: ${deltas.length} deltas, ${sent.length} trades of one symbol, last value at once`);
}

async function answers_of_a_model(page) {
  const { tab: alice } = await open(`${page}/?name=alice`);
  const { tab: other } = await open(`${page}/?name=alice`);
  const { tab: bob, frames: to_bob } = await open(`${page}/?name=bob`);
  // The page cuts its connection for a second when it has the third word.
  await alice.evaluate(() => new MutationObserver((_, observer) => {
    const text = document.querySelector('article')?.textContent ?? '';
    if (text.split(' ').length < 4) return;
    observer.disconnect();
    window.before_the_cut = text;
    document.getElementById('cut').click();
  }).observe(document.getElementById('answers'), { childList: true, subtree: true, characterData: true }));
  await alice.locator('#question').fill('Why?');
  await alice.locator('#ask button').click();
  await alice.locator('#state', { hasText: /^disconnected$/ }).waitFor();
  const article = alice.locator('#answers article');
  await alice.locator('#state', { hasText: /^connected$/ }).waitFor();
  await alice.locator('article[data-done]').waitFor();
  await other.locator('article[data-done]').waitFor();
  const thinking = 'Let me think about it for a while. '.repeat(9);
  const whole = `You asked: Why? That is a good question. ${thinking}Here is the end of the answer. `;
  assert.equal(await article.textContent(), whole);
  const before = await alice.evaluate(() => window.before_the_cut);
  assert.ok(whole.startsWith(before) && before.length < whole.length / 2, `streamed: ${before}`);
  assert.equal(await other.locator('#answers article').textContent(), whole);
  assert.equal(await bob.locator('article').count(), 0);
  assert.equal(publications(to_bob, 'answers:#bob').length, 0);
  console.log('ok: answers: word by word, whole after a cut, in one user\'s tabs alone');
}

/** The session that docs/protocol.md shows, line by line. */
async function session(port) {
  const page = await readFile(join(root, 'docs/protocol.md'), 'utf8');
  const lines = /```json\n([^`]+)```/.exec(page)[1].trim().split('\n');
  // What differs from run to run, and the interval of pings, which is short here.
  const same = (text) => JSON.stringify(JSON.parse(text), (key, value) => (
    ['client', 'version', 'epoch', 'time', 'ping'].includes(key) ? typeof value : value));
  const socket = new WebSocket(`ws://127.0.0.1:${port}/connection/websocket`);
  const received = [];
  let arrived = () => {};
  socket.on('message', (data) => { received.push(String(data)); arrived(); });
  await once(socket, 'open');
  for (const line of lines) {
    const [who, text] = [line.slice(0, 1), line.slice(2)];
    if (who === 'C') {
      socket.send(text);
      continue;
    }
    if (text.includes('"pub"')) {
      const { channel, pub } = JSON.parse(text).push;
      const body = JSON.stringify({ channel, data: pub.data });
      await fetch(`http://127.0.0.1:${port}/api/publish`, { method: 'POST', body });
    }
    while (received.length === 0) await new Promise((resolve) => { arrived = resolve; });
    assert.equal(same(received.shift()), same(text));
  }
  socket.close();
  console.log(`ok: the session of docs/protocol.md, ${lines.length} lines`);
}

/** The program that README shows, in Node, against a server in development mode. */
async function hello() {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const port = await free_port();
  const server = spawn(binary, ['serve', '--dev'], {
    env: {
      ...process.env,
      CORECAST_LISTEN: `127.0.0.1:${port}`,
      CORECAST_CLIENT_PING_INTERVAL_MS: '2000',
      CORECAST_CLIENT_PONG_TIMEOUT_MS: '1500',
    },
    stdio: 'ignore',
  });
  await answers(`http://127.0.0.1:${port}/health`, server);
  await session(port);
  const program = /```js\n([^`]+)```/.exec(readme)[1];
  assert.ok(program.includes('127.0.0.1:8000'));
  const sdk = spawn(process.execPath, ['--input-type=module'], {
    cwd: join(root, 'tests/sdk'), stdio: ['pipe', 'pipe', 'inherit'],
  });
  sdk.stdin.end(program.replace('127.0.0.1:8000', `127.0.0.1:${port}`));
  let said = '';
  for await (const part of sdk.stdout) {
    said += part;
    if (said.includes('hello from the SDK\n')) break;
  }
  assert.match(said, /^subscribed\n\d+ hello from the SDK\n$/);
  sdk.kill();
  await end(server);
  console.log("ok: README's program prints what it published");
}

try {
  await hello();
  for (const [name, look] of [['chat', chat], ['prices', prices], ['answers', answers_of_a_model]]) {
    const { page, stop } = await start(name);
    try {
      await look(page);
    } finally {
      for (const tab of context.pages().slice(1)) await tab.close();
      await stop();
    }
  }
  assert.deepEqual(errors, []);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
