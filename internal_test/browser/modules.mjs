// The dashboard's modules that need no page: filter, config text, difference, events.
import assert from 'node:assert/strict';
import { diff, hunks } from '../../server/dashboard/diff.js';
import { parse, print } from '../../server/dashboard/filter.js';
import { addKey, findNamed } from '../../server/dashboard/jsonc.js';
import { events } from '../../server/dashboard/sse.js';
import { words } from '../../server/dashboard/words.js';
import { check } from './check.mjs';

await check('filter', async () => {
  const f = (text, want) => assert.deepEqual(parse(text), want, text);
  f('', {});
  f('status:5xx model:gpt-*', { status: '5xx', model: 'gpt-*' });
  f('dial tcp 10.0.0.1:443: refused', { q: 'dial tcp 10.0.0.1:443: refused' });
  f('model:a model:b,c', { model: 'a,b,c' });
  f('model:"a b" late', { model: 'a b', q: 'late' });
  f('model:"a b', { model: 'a', q: 'b' });
  f('model: status:,', {});
  f('modle:x', { q: 'modle:x' });
  for (const text of ['status:5xx model:"a b" words here', 'key:小王 since:24h', 'x']) assert.equal(print(parse(text)), text);
});

await check('a key is added to a config text', async () => {
  const entry = '{"name":"new"}';
  const plain = (text) => JSON.parse(text.replace(/\/\/[^\n]*|\/\*.*?\*\//g, '').replace(/,(\s*[\]}])/g, '$1'));
  const f = (text, want) => {
    const added = addKey(text, entry);
    if (want !== undefined) assert.equal(added, want);
    assert.ok(plain(added).auth.keys.some((key) => key.name === 'new'), added);
    const node = findNamed(added, 'new', 'auth', 'keys');
    assert.equal(added.slice(node.start, node.end), entry);
  };
  f('{}', '{"auth": {"keys": [{"name":"new"}]}}');
  f('{"auth": {"enabled": true}}', '{"auth": {"enabled": true, "keys": [{"name":"new"}]}}');
  f('{"auth": {"keys": []}}', '{"auth": {"keys": [{"name":"new"}]}}');
  f('{"auth": {"keys": [{"name": "a"}, ]}}', '{"auth": {"keys": [{"name": "a"}, {"name":"new"}, ]}}');
  f('{"auth": {"keys": [\n  {"name": "a"} // ], "\n]}}', '{"auth": {"keys": [\n  {"name": "a"}, // ], "\n  {"name":"new"}\n]}}');
  f('{"x": [1, {"auth": 2}], /* "auth": */ "auth": {"keys": [{"name": "\\"]"}]}}');
  for (const text of ['', '[]', '//', '"', 'null']) assert.equal(addKey(text, entry), null, text);
  for (const text of ['{', '{"auth', '{"auth":', '{"auth": {"keys": [{"name": "a"', '}{', '{,}', '{"a" "b"}']) addKey(text, entry); // ends
});

await check('difference', async () => {
  const texts = ['', 'a', 'a\nb\nc', 'a\nx\nc\nd', 'c\nb\na', '\n\n', 'a\na\na', 'b\na\nb\na'];
  for (const before of texts) {
    for (const after of texts) {
      const lines = diff(before, after);
      assert.equal(lines.filter((l) => l.kind !== 'in').map((l) => l.text).join('\n'), before);
      assert.equal(lines.filter((l) => l.kind !== 'out').map((l) => l.text).join('\n'), after);
      lines.filter((l) => l.old).forEach((l, i) => assert.equal(l.old, i + 1));
      lines.filter((l) => l.new).forEach((l, i) => assert.equal(l.new, i + 1));
    }
  }
  const long = Array.from({ length: 100 }, (_, i) => i).join('\n');
  const shown = hunks(diff(long, long.replace('\n50\n', '\nnew\n')));
  assert.deepEqual(shown.map((l) => l && l.text), [null, '47', '48', '49', '50', 'new', '51', '52', '53', null]);
});

await check('events, cut anywhere', async () => {
  const bytes = new TextEncoder().encode('event: a\r\ndata: 一\r\ndata:2\r\n\r\n: ping\n\ndata: 3\n\ndata: unfinished');
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const body = new ReadableStream({
      start(stream) {
        stream.enqueue(bytes.slice(0, cut));
        stream.enqueue(bytes.slice(cut));
        stream.close();
      },
    });
    const got = [];
    for await (const event of events(new Response(body))) got.push(event);
    assert.deepEqual(got, [{ event: 'a', data: '一\n2' }, { event: '', data: '3' }], `cut at ${cut}`);
  }
});

await check('both languages say the same', async () => {
  const names = (text) => [...String(text).matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().filter((n, i, all) => n !== all[i - 1]);
  for (const [key, both] of Object.entries(words)) {
    assert.equal(both.length, 2, key);
    assert.deepEqual(names(both[0]), names(both[1]), key);
    for (const text of both.flat()) assert.ok(text, key);
  }
});
