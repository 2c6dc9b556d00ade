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
function watch(name, tab) {
  tab.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
  tab.on('console', (message) => message.type() === 'error' && errors.push(`${name}: ${message.text()}`));
}

/** A tab of the room; without a way to it, by its address. */
async function open(name, click) {
  const opened = click ? context.waitForEvent('page') : context.newPage();
  if (click) await click();
  const tab = await opened;
  watch(name, tab);
  if (!click) await tab.goto(page_url);
  await tab.locator('#state', { hasText: /\bconnected\b/i }).waitFor();
  console.log(`ok: ${name} is connected`);
  return tab;
}

async function say(tab, text) {
  await tab.locator('#message').fill(text);
  await tab.locator('#send').click();
}

/** Publishes by the server API, which asks for no key in development. */
async function publish(data) {
  const body = JSON.stringify({ channel: 'chat:lobby', data });
  const answer = await fetch(new URL('/api/publish', page_url), { method: 'POST', body });
  assert.equal((await answer.json()).error, undefined);
}

/** In the page: texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, 1.4.3). */
function faint() {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (channels) => {
    const [r, g, b] = channels.slice(0, 3).map((channel) => {
      const part = channel / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const judge = (element, text, colour) => {
    const [light, dark] = [luminance(rgba(colour)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.push(`${text.slice(0, 30)}: ${contrast.toFixed(2)}`);
    return contrast;
  };
  let judged = 0;
  for (const element of document.body.querySelectorAll('*')) {
    if (!element.checkVisibility() || element.disabled) continue;
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = own.map((node) => node.data.trim()).join('');
    if (text) judge(element, text, getComputedStyle(element).color);
    if (element.placeholder) judge(element, element.placeholder, getComputedStyle(element, '::placeholder').color);
    judged += text || element.placeholder ? 1 : 0;
  }
  return { found, judged };
}

async function is_readable(tab, what) {
  for (const colorScheme of ['light', 'dark']) {
    await tab.emulateMedia({ colorScheme });
    const { found, judged } = await tab.evaluate(faint);
    assert.ok(judged > 10, `${judged} texts`);
    assert.deepEqual(found, [], `${what}, ${colorScheme}`);
  }
  await tab.emulateMedia({ colorScheme: null });
}

const hears = (tab, text) => tab.locator('#messages', { hasText: text }).waitFor();

try {
  context.setDefaultTimeout(15_000);
  const first = await open('the first tab');
  const spoken = await first.locator('#messages .body').count();
  if (spoken === 0) {
    assert.ok(await first.locator('#empty').isVisible(), 'an empty room says what to do');
    await is_readable(first, 'the empty room');
  }
  const second = await open('the second tab', () => first.locator(spoken ? '#hint a' : '#second').click());
  console.log('ok: a button of the room opens it in a second tab');
  for (const tab of [first, second]) {
    await tab.waitForFunction(() => document.querySelector('#members').children.length >= 2);
  }
  console.log('ok: both tabs show both members');

  await say(first, 'Hello from the first tab');
  await hears(second, 'Hello from the first tab');
  await say(second, 'Seen, over on the second');
  await hears(first, 'Seen, over on the second');
  assert.ok(!await first.locator('#empty').isVisible());
  console.log('ok: each tab sees what the other says');

  if (await second.locator('#cut').count() > 0) {
    await second.locator('#cut').click();
    await second.locator('#state', { hasNotText: /\bconnected\b/i }).waitFor();
    await say(first, 'Said while the second was away');
    for (const text of ['Typed in the second while cut off', 'And one more after it']) {
      await say(second, text);
      await second.locator('#unsent', { hasText: text }).waitFor();
    }
    assert.match(await second.locator('#state').textContent(), /connecting/);
    await is_readable(second, 'messages that wait');
    await hears(second, 'Said while the second was away');
    console.log('ok: what was said to a tab that was cut off comes after');
    for (const tab of [first, second]) {
      await hears(tab, 'And one more after it');
      const texts = await tab.locator('#messages .body').allTextContents();
      const kept = texts.filter((text) => /^(Typed in|And one more)/.test(text));
      assert.deepEqual(kept, ['Typed in the second while cut off', 'And one more after it']);
    }
    await second.waitForFunction(() => document.querySelector('#unsent').children.length === 0);
    console.log('ok: what was typed while cut off is sent after, in order and once');
  }

  if (picture) {
    for (const tab of [first, second]) {
      await tab.waitForFunction(() => document.querySelector('#members').children.length === 2);
    }
    await second.screenshot({ path: picture });
  }

  for (const tab of [first, second]) {
    await tab.locator('#name').fill('Twin');
    await tab.locator('#rename button').click();
  }
  for (const tab of [first, second]) {
    await tab.waitForFunction(() => {
      const lines = [...document.querySelectorAll('#members li')].map((line) => line.textContent);
      return lines.length === 2 && lines.every((line) => line.startsWith('Twin'));
    });
    const tags = await tab.locator('#members code').allTextContents();
    assert.notEqual(tags[0], tags[1]);
  }
  await say(first, 'Which twin is this?');
  await hears(second, 'Which twin is this?');
  const line = second.locator('#messages li', { hasText: 'Which twin is this?' });
  const others = second.locator('#members li', { hasNotText: '(you)' }).locator('code');
  assert.equal(await line.locator('code').textContent(), await others.textContent());
  console.log('ok: two of one name are told apart');

  for (const data of [null, { text: null, name: null }, 42, 'as bare text']) await publish(data);
  await hears(second, 'published: "as bare text"');
  await hears(second, 'published: 42');
  const shown = await second.locator('#messages').textContent();
  assert.ok(!shown.includes('published: null') && !shown.includes('somebody'), shown);
  console.log('ok: null, which says nothing, does not show');
  await is_readable(second, 'a room in use');

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
