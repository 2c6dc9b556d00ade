// Pages of several origins in headless Chromium, and a cookie that signs every one of them in: only
// the listed origin's page gets a connection (cross-site WebSocket hijacking).
// Usage: node origins.mjs WEBSOCKET_URL PAGE_PORT SECRET
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [url, page_port, secret] = process.argv.slice(2);
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const head = `${base64url({ alg: 'HS256' })}.${base64url({ sub: 'alice' })}`;
const token = `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;

/** A server with one page, on a port of its own. */
async function page(port) {
  const server = createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>page</title><iframe sandbox="allow-scripts" src="data:text/html,frame"></iframe>');
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** In a page: what a connection leads to. */
const attempt = (url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({ id: 1, connect: {} }));
  socket.onmessage = ({ data }) => resolve(JSON.parse(data).connect ? 'connected' : data);
  socket.onclose = ({ code }) => resolve(`closed ${code}`);
});

const servers = [await page(Number(page_port)), await page(0)];
const profile = await mkdtemp(join(tmpdir(), 'corecast-origins-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  timeout: 60_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  context.setDefaultTimeout(15_000);
  // Cookies know no ports: every page on this host would send it.
  await context.addCookies([{ name: 'session', value: token, domain: '127.0.0.1', path: '/' }]);
  const open = async (server) => {
    const tab = await context.newPage();
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    return tab;
  };
  const [ours, theirs] = [await open(servers[0]), await open(servers[1])];
  assert.equal(await ours.evaluate(attempt, url), 'connected');
  console.log('ok: the listed origin is signed in by its cookie');
  assert.equal(await theirs.evaluate(attempt, url), 'closed 1006');
  console.log('ok: another port of the same host is another origin, and kept out');
  assert.equal(await ours.frames()[1].evaluate(attempt, url), 'closed 1006');
  console.log('ok: a sandboxed frame (origin null) is kept out');
  const by_name = new URL(url);
  by_name.hostname = 'localhost';
  assert.equal(await theirs.evaluate(attempt, by_name.href), 'closed 1006');
  console.log('ok: nor does another name of the server help');
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
  for (const server of servers) server.close();
}
