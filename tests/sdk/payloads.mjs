// Payloads to publish: the table of payloads in docs/codecs.md, and random ones from a seed.
import { readMessagePack, canBeJson, isJson } from './reference.mjs';

const utf8 = (text) => Buffer.from(text);
const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const nested = (open, middle, close, levels) => utf8(open.repeat(levels) + middle + close.repeat(levels));

/** JSON texts that anybody may publish. */
export const texts = [
  '0', '-0', '-1', '1.0', '0.10', '-0.0', '0.30000000000000004', '1e2', '1E+2', '-1e-7', '5e-324', '2e-324', '1e23',
  '9007199254740991', '9007199254740993', '-9007199254740993', '9223372036854775807', '9223372036854775808',
  '-9223372036854775808', '-9223372036854775809', '18446744073709551615', '18446744073709551616',
  '123456789012345678901234567890', '1e400', '-1e400', '1e-400', '1e99999999999999999999', '1.7976931348623157e308',
  '179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887',
  '0.1000000000000000055511151231257827021181583404541015625', '9007199254740992.5', '9007199254740993.0',
  'null', 'true', 'false', '""', '[]', '{}', '[ ]', '{ }', ' 1 ', '\t[1 ,2]\r\n', '{\n  "a": 1,\r\n  "b": [\n]\n}',
  '{"a":1,"a":2}', '{"a":{"b":1,"b":[]},"":0,"a":null}', '{"1":1,"-1":2,"__proto__":3,"constructor":4}',
  '"\\ud83d"', '"\\ude00\\ud83d"', '"a\\ud83dz"', '{"\\udfff":"\\ud83d\\ude00"}', '"\\ud83d\\ud83d\\ude00"',
  '"\\u0000\\u001f\\u007f\\u2028\\n\\r\\t\\b\\f\\/\\\\\\""', '"\u2028\u2029\u007f\u{1f600}h\u00e9\ufeff"', '"\\u00E9\\u00e9"',
  JSON.stringify('x'.repeat(31)), JSON.stringify('x'.repeat(32)), JSON.stringify('\u00e9'.repeat(200)), JSON.stringify('y'.repeat(20_000)),
  JSON.stringify(Array.from({ length: 16 }, (_, n) => n - 8)), JSON.stringify(Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`k${n}`, n]))),
  JSON.stringify(Array.from({ length: 300 }, () => 1.5)),
].map(utf8).concat([nested('[', '', ']', 64), nested('{"a":', '[]', '}', 63), nested('[', '1', ']', 64)]);

/** Texts that nobody may publish, where bytes are taken as they are: they would be no JSON. */
export const refusedTexts = [
  nested('[', '', ']', 65), nested('{"a":', '[]', '}', 64), nested('[', '', ']', 1000),
  ...[' ', '01', '+1', '.5', '1.', '1e', '-', 'NaN', 'Infinity', 'nul', '"', '"\\x"', '"\\u12"', '"\n"', '"\u0000"', '[1,]', '{"a"}', '{a:1}', '1 2', '[', '{"a":1'].map(utf8),
  hex('22 ff 22'), hex('22 c0 80 22'), hex('22 ed a0 80 22'), hex('22 f4 90 80 80 22'), hex('22 e2 82 22'), hex('ff'), hex('ef bb bf 31'),
];
/** Those of them that are a whole value all the same, so JSON and the API can say them. */
export const refusedDepths = refusedTexts.slice(0, 3);

const packedNested = (levels) => Buffer.concat([Buffer.alloc(levels - 1, 0x91), hex('90')]);

/** MessagePack values, allowed or not; the reference says which. */
export const packed = [
  '00', '7f', 'ff', 'e0', 'cc 80', 'cc 01', 'cd ffff', 'ce ffffffff', 'cf 0020000000000001', 'cf ffffffffffffffff', 'cf 0000000000000000',
  'd0 80', 'd1 8000', 'd2 80000000', 'd3 8000000000000000', 'd3 ffdfffffffffffff', 'd3 0000000000000001',
  'cb 3ff0000000000000', 'cb 8000000000000000', 'cb 3fb999999999999a', 'cb 0000000000000001', 'cb 7fefffffffffffff', 'cb 4340000000000001',
  'cb 7e37e43c8800759c', 'ca 3dcccccd', 'ca 80000000', 'ca 7f7fffff', 'ca 00000001', 'cb 44b52d02c7e14af6',
  'cb 7ff8000000000000', 'cb 7ff0000000000000', 'cb fff0000000000000', 'ca 7fc00000', 'ca ff800000', '92 01 cb 7ff8000000000001',
  'c0', 'c2', 'c3', 'a0', 'a1 61', 'd9 01 61', 'da 0001 61', 'db 00000001 61', 'a4 f09f9880', 'a3 22 5c 0a', 'a3 e280a8', 'a1 00', 'a1 7f',
  'a1 ff', 'a2 c080', 'a3 eda080', '81 a1 ff 01', '92 a1 61 a1 e2',
  'c4 00', 'c4 01 41', 'c5 0001 41', 'c6 00000001 41', '81 a1 61 c4 01 00', '91 c4 01 00',
  'd4 01 00', 'd5 01 0000', 'd6 ff 00000000', 'd7 ff 0000000000000000', 'd8 01 00000000000000000000000000000000', 'c7 00 01', 'c7 0c ff 000000000000000000000000', '91 d4 01 00',
  '80', '90', 'dc 0000', 'dd 00000000', 'de 0000', 'df 00000000', 'dd 00000002 01 02', 'df 00000001 a1 61 01',
  '82 01 02 03 c3', '81 ff 00', '81 cf ffffffffffffffff 01', '81 d3 8000000000000000 01', '81 cc 05 01', '82 01 02 01 03', '82 01 02 a1 31 03',
  '82 a1 61 01 a1 61 02', '81 c3 01', '81 c0 01', '81 cb 3ff0000000000000 01', '81 90 01', '81 80 01', '81 c4 01 61 01', '81 d4 01 00 01', '91 81 c2 01',
].map(hex).concat([packedNested(64), packedNested(65), packedNested(1000)]);

/** Bytes to publish where payloads are bytes. */
export const blobs = [
  Buffer.from([0]), Buffer.from(Array.from({ length: 256 }, (_, n) => n)), ...Array.from({ length: 256 }, (_, n) => Buffer.from([n])),
  Buffer.from('\r\n\n'), Buffer.from('{"a":1}'), Buffer.alloc(255, 0xff), Buffer.alloc(256, 0x80), Buffer.alloc(30_000, 0xc1),
];

/** Numbers from a seed, the same in every run (mulberry32). */
export function dice(seed) {
  let state = seed;
  const draw = () => {
    state = (state + 0x6d2b79f5) | 0;
    let n = Math.imul(state ^ (state >>> 15), 1 | state);
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n;
    return ((n ^ (n >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count) => Math.floor(draw() * count);
  const bytes = (count) => Buffer.from(Array.from({ length: count }, () => below(256)));
  return { below, bytes, of: (...all) => all[below(all.length)], some: (most, make) => Array.from({ length: below(most + 1) }, make) };
}

/** A random JSON text, with the liberties that JSON gives. */
export function randomText(dice, levels = 4) {
  const { below, of, some } = dice;
  const blank = () => of('', '', '', ' ', '\t', '\n', '\r\n');
  const digits = (most) => some(most, () => below(10)).join('');
  const number = () => of('', '-') + of('0', `${1 + below(9)}${digits(24)}`, `${1 + below(9)}${digits(3)}`)
    + of('', '', `.${below(10)}${digits(20)}`) + of('', '', `${of('e', 'E')}${of('', '+', '-')}${below(10)}${digits(2)}`);
  const unit = () => `\\u${below(65_536).toString(16).padStart(4, '0')}`;
  const high = () => `\\uD${of('8', '9', 'a', 'B')}${below(256).toString(16).padStart(2, '0')}`;
  const low = () => `\\ud${of('c', 'D', 'e', 'F')}${below(256).toString(16).padStart(2, '0')}`;
  const letter = () => of('a', 'b', ' ', '\u00e9', '\u20ac', '\u{1f600}', '\\n', '\\"', '\\\\', '\\/', unit(), high(), low(), high() + low());
  const string = () => `"${some(6, letter).join('')}"`;
  const value = (left) => {
    const inner = () => blank() + value(left - 1) + blank();
    const member = () => `${blank()}${of('"a"', string())}${blank()}:${inner()}`;
    return of(number, string, number, () => of('null', 'true', 'false'),
      () => (left ? `[${some(4, inner).join() || blank()}]` : '[]'), () => (left ? `{${some(4, member).join() || blank()}}` : '{}'))();
  };
  return Buffer.from(blank() + value(levels) + blank());
}

/** A random MessagePack value, in any of its encodings; now and then one that JSON cannot say. */
export function randomPacked(dice, levels = 4) {
  const { below, bytes, of, some } = dice;
  const first = (byte, rest) => Buffer.concat([Buffer.from([byte]), rest]);
  const sized = (heads, length, part) => {
    const [head, width] = of(...heads);
    const size = Buffer.alloc(width);
    if (width) size.writeUIntBE(length, 0, width);
    return Buffer.concat([Buffer.from([width ? head : head + length]), size, part]);
  };
  const int = () => of(() => Buffer.from([below(128)]), () => Buffer.from([224 + below(32)]), () => {
    const width = below(4);
    return first(of(0xcc, 0xd0) + width, bytes(1 << width));
  })();
  const float = () => of(() => first(0xcb, bytes(8)), () => first(0xca, bytes(4)), () => {
    const wide = Buffer.alloc(9, 0xcb);
    wide.writeDoubleBE((below(2_000_001) - 1_000_000) / of(1, 2, 3, 10, 1000), 1);
    return wide;
  })();
  const letters = () => Buffer.from(some(6, () => of('a', '"', '\\', '\n', '\u0001', '\u00e9', '\u2028', '\u{1f600}')).join(''));
  const string = () => {
    const part = below(100) ? letters() : bytes(3);
    return sized([[0xa0, 0], [0xd9, 1], [0xda, 2], [0xdb, 4]], part.length, part);
  };
  const odd = () => of(first(0xc4, first(1, bytes(1))), first(0xd4, bytes(2)), first(0xd7, first(255, bytes(8))));
  const key = () => (below(60) ? of(string, string, int)() : of(odd, float)());
  const value = (left) => {
    if (!below(60)) return odd();
    const inner = () => value(left - 1);
    const array = () => {
      const items = left ? some(4, inner) : [];
      return sized([[0x90, 0], [0xdc, 2], [0xdd, 4]], items.length, Buffer.concat(items));
    };
    const map = () => {
      const members = left ? some(4, () => Buffer.concat([key(), inner()])) : [];
      return sized([[0x80, 0], [0xde, 2], [0xdf, 4]], members.length, Buffer.concat(members));
    };
    return of(int, float, string, () => Buffer.from([of(0xc0, 0xc2, 0xc3)]), array, map)();
  };
  return value(levels);
}

/** Each codec's payload, and whether it may be published. */
export const textCase = (data) => ({ data, isAllowed: isJson(data) });
export const packedCase = (data) => ({ data, isAllowed: canBeJson(readMessagePack(data).node) });

/** Bytes as a publisher of each codec says them. */
export function blobAs(codec, blob, isPadded = true) {
  if (codec === 'protobuf') return blob;
  if (codec === 'msgpack') {
    const head = Buffer.from([0xc5, blob.length >> 8, blob.length & 255]);
    return Buffer.concat([blob.length < 256 ? Buffer.from([0xc4, blob.length]) : head, blob]);
  }
  const base64 = blob.toString('base64');
  return utf8(JSON.stringify(isPadded ? base64 : base64.replaceAll('=', '')));
}
