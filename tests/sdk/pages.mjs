// The bench's pages in headless Chromium, at the widths of a desk and of a phone: nothing is cut or
// has to be scrolled sideways, nothing lies outside, and no text is too small to read.
// Usage: node pages.mjs FILE.html...
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const files = process.argv.slice(2);
assert.ok(files.length > 0, 'no pages');

/** In a page: what a reader at this width cannot see, or cannot read. */
function unreadable() {
  const found = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) found.push('the page scrolls sideways');
  let texts = 0;
  for (const element of document.body.querySelectorAll('*')) {
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    if (style.overflowX !== 'visible' && element.scrollWidth > element.clientWidth) {
      found.push(`${element.tagName} scrolls or is cut: ${element.textContent.trim().slice(0, 40)}`);
    }
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || ['TITLE', 'STYLE'].includes(element.tagName.toUpperCase())) continue;
    texts += 1;
    const box = element.getBoundingClientRect();
    const text = element.textContent.trim().slice(0, 40);
    if (box.left < -1 || box.right > width + 1) found.push(`outside: ${text}`);
    const svg = element.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    if (parseFloat(style.fontSize) * scale < 10) found.push(`too small: ${text}`);
    const picture = svg?.getBoundingClientRect();
    if (picture && (box.left < picture.left - 1 || box.right > picture.right + 1 || box.bottom > picture.bottom + 1)) {
      found.push(`cut by its picture: ${text}`);
    }
  }
  return { found, texts };
}

/** In a page: whether each group of bars goes from the best to the worst. */
const unsorted = () => [...document.querySelectorAll('.bars')].filter((bars) => {
  const less = bars.closest('section').querySelector('.note').textContent.includes('less is better');
  const values = [...bars.querySelectorAll('.figure')].map((figure) => parseFloat(figure.textContent));
  return values.some((value, index) => index > 0 && (less ? value < values[index - 1] : value > values[index - 1]));
}).map((bars) => bars.textContent);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  timeout: 60_000,
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  for (const width of [1280, 400]) {
    const page = await browser.newPage({ viewport: { width, height: 900 } });
    for (const file of files) {
      await page.goto(pathToFileURL(resolve(file)).href);
      const { found, texts } = await page.evaluate(unreadable);
      assert.ok(texts > 20, `${file}: ${texts} texts`);
      assert.deepEqual(found, [], `${file} at ${width}`);
      assert.deepEqual(await page.evaluate(unsorted), [], `${file}: bars are sorted`);
      assert.equal(await page.locator('.headline').count() + await page.locator('.warning').count(), 1, file);
      assert.ok(!/not measured|not there yet/.test(await page.textContent('body')), `${file}: only what was measured`);
    }
    console.log(`ok: ${files.length} pages of the bench are whole at ${width} px`);
  }
} finally {
  await browser.close();
}
