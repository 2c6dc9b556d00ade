// The newest protocol as a table of facts: each message's fields, with number and type, read from
// `client.proto` of the Go module and from npm's Protobuf build. `tests/data/protocol.json` is what was
// read last, and tests/codecs/newest.rs holds our codecs to it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** Where `go` keeps the module that the oracle is built with; none where there is no Go. */
export function protoFile() {
  try {
    const arguments_ = ['list', '-m', '-f', '{{.Dir}}', 'github.com/centrifugal/protocol'];
    const folder = execFileSync('go', arguments_, { cwd: new URL('oracle', import.meta.url), encoding: 'utf8' });
    const file = join(folder.trim(), 'definitions', 'client.proto');
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
}

/** `{ message: { field: [number, type] } }` of a proto file without nested messages. */
export function readProto(text) {
  const messages = {};
  const code = text.replaceAll(/\/\/.*$/gm, '');
  for (const [, name, body] of code.matchAll(/\bmessage\s+(\w+)\s*\{([^}]*)\}/g)) {
    messages[name] = {};
    for (const line of body.split(';').map((each) => each.trim())) {
      if (line === '' || line.startsWith('reserved')) continue;
      const found = /^(repeated\s+)?(map\s*<\s*string\s*,\s*(\w+)\s*>|\w+)\s+(\w+)\s*=\s*(\d+)$/.exec(line);
      if (!found) throw new Error(`${name}: cannot read ${line}`);
      const [, repeated, type, value, field, number] = found;
      messages[name][field] = [Number(number), value ? `map ${value}` : repeated ? `list ${type}` : type];
    }
  }
  return messages;
}

/** `{ message: { field: number } }` of npm's build, from the comments of its encoders. */
export function readNpm() {
  const require = createRequire(import.meta.url);
  const text = readFileSync(require.resolve('centrifuge/build/protobuf'), 'utf8');
  const messages = {};
  for (const [, name, body] of text.matchAll(/(\w+)\.encode = function encode\(message, writer\) \{([^]*?)return writer;/g)) {
    messages[name] = {};
    for (const [, field, number] of body.matchAll(/if \(message\.(\w+) != null && [^]*?\/\* id (\d+), wireType/g)) {
      messages[name][field] ??= Number(number);
    }
  }
  return messages;
}
