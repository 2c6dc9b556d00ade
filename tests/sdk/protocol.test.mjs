// The table of the protocol's facts is the newest: what the oracle's Go module and npm's build say.
// `SDK_RECORD=1` writes it anew; tests/codecs/newest.rs then names every field that is new to us.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { protoFile, readNpm, readProto } from './protocol.mjs';

const table = new URL('../data/protocol.json', import.meta.url);
const file = protoFile();

/** One message a line. */
const written = (messages) => {
  const lines = Object.entries(messages).map(([name, fields]) => `  ${JSON.stringify(name)}: ${JSON.stringify(fields)}`);
  return `{\n${lines.join(',\n')}\n}\n`;
};

test("the table is what the protocol's definition says", { skip: !file && 'no Go here' }, () => {
  const messages = readProto(readFileSync(file, 'utf8'));
  assert.ok(Object.keys(messages).length > 40 && messages.Command.sub_refresh[0] === 15);
  if (process.env.SDK_RECORD === '1') writeFileSync(table, written(messages));
  assert.deepEqual(JSON.parse(readFileSync(table, 'utf8')), messages);
});

test("npm's build has no field that the table lacks", () => {
  const known = JSON.parse(readFileSync(table, 'utf8'));
  const messages = readNpm();
  assert.ok(messages.SubscribeRequest.asc === 19 && messages.FilterNode.nodes === 6);
  const fields = Object.entries(messages).flatMap(([name, inner]) => Object.entries(inner).map(([field, number]) => [name, field, number]));
  assert.deepEqual(fields.filter(([name, field, number]) => known[name]?.[field]?.[0] !== number), []);
});
