// The keys: who may call, what each may do, and what it has done today.

import * as api from '../api.js';
import { copyButton, notify, show } from '../dialog.js';
import { fill, h, newId, table } from '../dom.js';
import { ago, count, moment, percent, short } from '../format.js';
import { t } from '../i18n.js';
import { every } from '../poll.js';
import { go, link } from '../route.js';
import { carryKey } from './settings.js';

export function open(main) {
  const list = h('div', { class: 'scroll', role: 'group', tabindex: '0', 'aria-label': t('page.keys') });
  const id = newId();
  const name = h('input', { id, required: true, maxlength: '64', autocomplete: 'off', placeholder: t('keys.placeholder') });
  const create = h('form', { class: 'inline', onsubmit: makeKey },
    h('label', { for: id }, t('keys.name')), name, h('button', { type: 'submit', class: 'primary' }, t('keys.create')));
  let keys = null;
  let usage = new Map(); // key → its sums of 24 hours
  const seen = new Map(); // key → the time of its newest record
  let before = new Map(); // usage, when seen was read
  let drawn = '';

  fill(main, h('section', { class: 'panel', 'aria-labelledby': 'keys-title' },
    h('div', { class: 'panel-head' }, h('h1', { id: 'keys-title' }, t('page.keys')), create),
    h('p', { class: 'muted' }, t('keys.about')),
    list));

  async function makeKey(event) {
    event.preventDefault();
    const wanted = name.value.trim();
    if (keys?.some((k) => k.name === wanted)) {
      notify(t('keys.taken', { name: wanted }), 'bad');
      return;
    }
    try {
      const made = await api.createKey(wanted);
      name.value = '';
      await showKey(wanted, made);
    } catch (e) {
      notify(e.status ? e.message : t('unreachable'), 'bad');
    }
  }

  function draw() {
    const now = JSON.stringify([keys, [...usage], [...seen]]);
    if (!keys || now === drawn) return;
    drawn = now;
    fill(list, keys.length === 0 ? h('p', { class: 'empty' }, t('keys.none')) : table({
      columns: ['name', 'key', 'policy', 'requests', 'errors', 'tokens', 'seen', 'actions'].map((c) => t(`keys.column.${c}`)),
      numeric: [3, 4, 5],
      rows: keys.map((k) => rowOf(k, usage.get(k.name), seen.get(k.name))),
    }));
  }

  const poll = every(15000, async () => {
    try {
      const stats = await api.stats({ window: '24h', by: 'key' });
      usage = new Map((stats.groups ?? []).map((g) => [g.name, g]));
      draw();
      for (const g of (stats.groups ?? []).slice(0, 50)) {
        // A comma would ask for two keys.
        if (!g.name || g.name.includes(',') || g.name.length > 200 || before.get(g.name)?.requests === g.requests) continue;
        const { data } = await api.logs({ key: g.name, since: '24h', limit: 1 });
        if (data[0]?.key === g.name) seen.set(g.name, data[0].time);
      }
      before = usage;
      draw();
    } catch (e) {
      if (!(e instanceof api.ApiError)) throw e;
    }
  });
  return {
    status(s) {
      if (s) keys = s.keys;
      draw();
    },
    close: poll.stop,
    keys: { '/': () => name.focus() },
  };
}

function rowOf(key, sum, seen) {
  const errors = sum ? sum.error_rate : 0;
  return [
    h('span', { class: 'value' }, key.name, key.admin && [' ', h('span', { class: 'tag' }, t('keys.admin'))],
      key.generated && [' ', h('span', { class: 'tag' }, t('keys.generated'))]),
    h('code', null, key.masked),
    policy(key),
    sum ? h('a', { href: link('requests', { key: key.name, since: '24h' }) }, count(sum.requests)) : '0',
    sum && errors > 0
      ? h('a', { href: link('requests', { key: key.name, since: '24h', status: 'error' }) }, percent(errors))
      : '0 %',
    sum ? `${short(sum.tokens.input)} → ${short(sum.tokens.output)}` : '–',
    seen ? h('time', { datetime: seen, title: moment(seen) }, ago(seen)) : h('span', { class: 'muted' }, t('keys.unseen')),
    key.generated ? '' : h('a', { href: link('settings', { key: key.name }) }, t('keys.edit')),
  ];
}

function policy(key) {
  const parts = [];
  parts.push(key.models?.length ? h('span', { class: 'value' }, key.models.join(', ')) : t('keys.allModels'));
  if (key.requests_per_minute) parts.push(t('keys.rpm', { n: count(key.requests_per_minute) }));
  if (key.tokens_per_minute) parts.push(t('keys.tpm', { n: count(key.tokens_per_minute) }));
  if (key.concurrency) parts.push(t('keys.concurrency', { n: key.concurrency }));
  if (key.expires && !key.expires.startsWith('0001')) {
    const over = new Date(key.expires) < new Date();
    parts.push(h('span', { class: over ? 'status bad' : null, title: moment(key.expires) },
      t(over ? 'keys.expired' : 'keys.expires', { when: ago(key.expires) })));
  }
  return h('ul', { class: 'policy' }, parts.map((p) => h('li', null, p)));
}

// showKey shows a new key, once, and its line of the config.
async function showKey(name, { key, entry }) {
  const line = (title, text, help) => h('div', { class: 'snippet' },
    h('div', { class: 'snippet-head' }, h('span', null, title), copyButton(() => text, t('copy'), t('snippet.copy', { what: title }))),
    h('pre', { tabindex: '0', role: 'group', 'aria-label': title }, text),
    h('p', { class: 'muted' }, help));
  const carry = await show({
    title: t('keys.made', { name }),
    body: [line(t('keys.secret'), key, t('keys.once')), line(t('keys.entry'), entry, t('keys.entryHelp'))],
    actions: [{ label: t('keys.carry'), value: true, kind: 'primary' }],
    wide: true,
  });
  if (!carry) return;
  carryKey(entry);
  go('settings');
}
