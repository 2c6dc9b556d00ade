// The demo page in headless Chromium: two tabs in one room see each other and each other's words.
// Usage: node browser.mjs PAGE_URL [PICTURE.png]
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [page_url, picture] = process.argv.slice(2);
const profile = await mkdtemp(join(tmpdir(), 'corecast-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 900, height: 640 },
  timeout: 60_000,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});

const errors = [];
async function open(name) {
  const tab = await context.newPage();
  tab.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
  tab.on('console', (message) => message.type() === 'error' && errors.push(`${name}: ${message.text()}`));
  await tab.goto(page_url);
  await tab.locator('#state', { hasText: /\bconnected\b/i }).waitFor();
  console.log(`ok: ${name} is connected`);
  return tab;
}

async function say(tab, text) {
  await tab.locator('#message').fill(text);
  await tab.locator('#send').click();
}

const hears = (tab, text) => tab.locator('#messages', { hasText: text }).waitFor();

try {
  context.setDefaultTimeout(15_000);
  const [first, second] = [await open('the first tab'), await open('the second tab')];
  for (const tab of [first, second]) {
    await tab.waitForFunction(() => document.querySelector('#members').children.length >= 2);
  }
  console.log('ok: both tabs show both members');

  await say(first, 'Hello from the first tab');
  await hears(second, 'Hello from the first tab');
  await say(second, 'Seen, over on the second');
  await hears(first, 'Seen, over on the second');
  console.log('ok: each tab sees what the other says');

  if (await second.locator('#cut').count() > 0) {
    await second.locator('#cut').click();
    await second.locator('#state', { hasNotText: /\bconnected\b/i }).waitFor();
    await say(first, 'Said while the second was away');
    await hears(second, 'Said while the second was away');
    console.log('ok: what was said to a tab that was cut off comes after');
  }

  if (picture) {
    for (const tab of [first, second]) {
      await tab.waitForFunction(() => document.querySelector('#members').children.length === 2);
    }
    await second.screenshot({ path: picture });
  }

  await say(first, '<b id="injected">&amp;</b>');
  await hears(second, '<b id="injected">&amp;</b>');
  assert.equal(await second.locator('#injected').count(), 0);
  console.log('ok: what people type stays text');
  assert.deepEqual(errors, []);

  await first.close();
  await second.waitForFunction(() => document.querySelector('#members').children.length === 1);
  console.log('ok: who closes the tab leaves the room');
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
