// What docs/codecs.md says of payloads, slowly: readers of JSON and MessagePack that lose nothing,
// and what a payload of one has to be in the other. Shares no code with a client or the server.

/** Nodes are {kind, value, raw} with `items` (arrays) or `entries` (objects, in order, repeats kept). */
export function readJson(bytes) {
  const text = bytes.toString('latin1');
  let at = 0;
  const blank = () => { while (' \t\r\n'.includes(text[at] ?? 'x')) at += 1; };
  const fail = () => { throw new Error(`no JSON at ${at} of ${bytes.toString().slice(0, 200)}`); };
  const eat = (what) => (text.startsWith(what, at) ? (at += what.length) : fail());
  const list = (open, close, one) => {
    const all = [];
    eat(open);
    blank();
    while (text[at] !== close) {
      if (all.length) {
        eat(',');
        blank();
      }
      all.push(one());
      blank();
    }
    eat(close);
    return all;
  };
  const string = () => {
    const [all] = /^"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/.exec(text.slice(at)) ?? fail();
    at += all.length;
    return { kind: 'string', value: JSON.parse(Buffer.from(all, 'latin1').toString()) };
  };
  const value = () => {
    blank();
    const from = at;
    const node = any();
    node.raw = bytes.subarray(from, at);
    return node;
  };
  const any = () => {
    const rest = text.slice(at, at + 400);
    const word = /^(?:null|true|false)/.exec(rest)?.[0];
    const number = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/.exec(rest)?.[0];
    if (word) return { kind: 'word', value: JSON.parse(text.slice(at, eat(word))) };
    if (number) return { kind: 'number', value: text.slice(at, eat(number)) };
    if (text[at] === '"') return string();
    if (text[at] === '[') return { kind: 'array', items: list('[', ']', value) };
    if (text[at] !== '{') fail();
    return { kind: 'object', entries: list('{', '}', () => {
      blank();
      const name = string();
      blank();
      eat(':');
      return [name, value()];
    }) };
  };
  const node = value();
  blank();
  return at === text.length ? node : fail();
}

/** One value from `at`, and where it ends. */
export function readMessagePack(bytes, at = 0) {
  const from = at;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const uint = (width) => {
    let n = 0n;
    for (let i = 0; i < width; i += 1) n = n * 256n + BigInt(view.getUint8(at + i));
    at += width;
    return n;
  };
  const take = (length) => bytes.subarray(at, (at += Number(length)));
  const inner = () => {
    const { node, end } = readMessagePack(bytes, at);
    at = end;
    return node;
  };
  const array = (length) => ({ kind: 'array', items: Array.from({ length: Number(length) }, inner) });
  const map = (length) => ({ kind: 'object', entries: Array.from({ length: Number(length) }, () => [inner(), inner()]) });
  const string = (length) => {
    const part = take(length);
    return { kind: Buffer.from(part.toString()).equals(part) ? 'string' : 'bad string', value: part.toString() };
  };
  const int = (n) => ({ kind: 'int', value: n });
  const word = (value) => ({ kind: 'word', value });
  const float = (read, width) => {
    at += width;
    return { kind: 'float', value: read.call(view, at - width) };
  };
  const other = (kind, length) => ({ kind, value: take(length) });
  const first = Number(uint(1));
  const wide = () => 1 << (first & 3);
  const read = () => {
    if (first < 0x80 || first >= 0xe0) return int(BigInt(first < 0x80 ? first : first - 256));
    if (first < 0x90) return map(first & 15);
    if (first < 0xa0) return array(first & 15);
    if (first < 0xc0) return string(first & 31);
    if (first >= 0xc4 && first <= 0xc6) return other('bin', uint(1 << (first - 0xc4)));
    if (first >= 0xc7 && first <= 0xc9) return other('ext', uint(1 << (first - 0xc7)) + 1n);
    if (first >= 0xcc && first <= 0xcf) return int(uint(wide()));
    if (first >= 0xd0 && first <= 0xd3) return int(BigInt.asIntN(8 * wide(), uint(wide())));
    if (first >= 0xd4 && first <= 0xd8) return other('ext', (1 << (first - 0xd4)) + 1);
    if (first >= 0xd9 && first <= 0xdb) return string(uint(1 << (first - 0xd9)));
    switch (first) {
      case 0xc0: return word(null);
      case 0xc2: return word(false);
      case 0xc3: return word(true);
      case 0xca: return float(view.getFloat32, 4);
      case 0xcb: return float(view.getFloat64, 8);
      case 0xdc: return array(uint(2));
      case 0xdd: return array(uint(4));
      case 0xde: return map(uint(2));
      case 0xdf: return map(uint(4));
      default: throw new Error(`no MessagePack: ${first}`);
    }
  };
  const node = read();
  node.raw = bytes.subarray(from, at);
  return { node, end: at };
}

/** Levels of arrays and objects. */
const depth = (node) => {
  const inner = [...node.items ?? [], ...(node.entries ?? []).map(([, each]) => each)];
  return node.items || node.entries ? 1 + Math.max(0, ...inner.map(depth)) : 0;
};

/** Whether a MessagePack value is one that JSON can say, within 64 levels. */
export function canBeJson(node, top = true) {
  if (top && depth(node) > 64) return false;
  if (node.kind === 'float') return Number.isFinite(node.value);
  if (node.entries) {
    return node.entries.every(([key, value]) => ['string', 'int'].includes(key.kind) && canBeJson(value, false));
  }
  if (node.items) return node.items.every((each) => canBeJson(each, false));
  return ['string', 'int', 'word'].includes(node.kind);
}

/** Whether bytes are one JSON value in UTF-8, within 64 levels. */
export function isJson(bytes) {
  if (!Buffer.from(bytes.toString()).equals(bytes)) return false;
  try {
    return depth(readJson(bytes)) <= 64;
  } catch {
    return false;
  }
}

/** Raw CR and LF become spaces; inside strings there are none. */
export const oneLine = (bytes) => Buffer.from(bytes.toString('latin1').replace(/[\r\n]/g, ' '), 'latin1');

const isInteger = (digits) => /^-?[0-9]+$/.test(digits) && digits !== '-0'
  && BigInt(digits) >= -(2n ** 63n) && BigInt(digits) < 2n ** 64n;
const wellFormed = (text) => text.toWellFormed();

/** What a JSON value means to a MessagePack receiver, as text to compare. */
export function jsonMeaning(node) {
  if (node.items) return `[${node.items.map(jsonMeaning).join()}]`;
  if (node.entries) return `{${node.entries.map(([key, value]) => `${jsonMeaning(key)}:${jsonMeaning(value)}`).join()}}`;
  if (node.kind === 'number') return isInteger(node.value) ? `int ${node.value}` : double(Number(node.value));
  return node.kind === 'string' ? JSON.stringify(wellFormed(node.value)) : String(node.value);
}

/** What a MessagePack value is; the same text, where it is the same content. */
export function packMeaning(node) {
  if (node.items) return `[${node.items.map(packMeaning).join()}]`;
  if (node.entries) return `{${node.entries.map(([key, value]) => `${packMeaning(key)}:${packMeaning(value)}`).join()}}`;
  if (node.kind === 'int') return `int ${node.value}`;
  if (node.kind === 'float') return double(node.value);
  if (node.kind === 'word') return String(node.value);
  return node.kind === 'string' ? JSON.stringify(node.value) : `${node.kind} ${node.value.toString('hex')}`;
}

function double(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `double ${bytes.toString('hex')}`;
}

/** The digits that count, of a number as text. */
const significant = (text) => text.replace(/[eE].*/, '').replace(/[-.]/g, '').replace(/^0+|0+$/g, '').length;

/** Whether JSON says what a MessagePack publisher said: nothing if so, else where it does not. */
export function saysAs(json, packed, path = '$') {
  const wrong = `${path}: ${json.raw} is not ${packMeaning(packed)}`;
  if (packed.items) {
    if (json.items?.length !== packed.items.length) return wrong;
    return packed.items.map((each, n) => saysAs(json.items[n], each, `${path}[${n}]`)).find(Boolean);
  }
  if (packed.entries) {
    if (json.entries?.length !== packed.entries.length) return wrong;
    return packed.entries.map(([key, value], n) => {
      const [name, said] = json.entries[n];
      return name.value === String(key.value) ? saysAs(said, value, `${path}.${name.value}`) : wrong;
    }).find(Boolean);
  }
  if (packed.kind === 'int') return json.kind === 'number' && json.value === String(packed.value) ? undefined : wrong;
  if (packed.kind === 'float') {
    const isSame = json.kind === 'number' && Object.is(Number(json.value), packed.value);
    return isSame && significant(json.value) <= significant(String(packed.value)) ? undefined : wrong;
  }
  return json.kind === packed.kind && json.value === packed.value ? undefined : wrong;
}
