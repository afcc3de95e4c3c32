// One record of the log, whole.

import { copyButton } from '../dialog.js';
import { h } from '../dom.js';
import { bytes, count, millis, moment, visible } from '../format.js';
import { has, t } from '../i18n.js';
import { statusBadge } from '../status.js';

const groups = {
  outcome: ['error_type', 'error', 'finish_reason', 'attempts', 'dropped'],
  route: ['model', 'upstream_model', 'provider', 'key', 'endpoint', 'method', 'path', 'stream'],
  timing: ['time', 'ttft_ms', 'duration_ms'],
  tokens: ['input_tokens', 'cache_read_tokens', 'cache_write_tokens', 'output_tokens', 'reasoning_tokens'],
  transfer: ['request_bytes', 'response_bytes', 'client', 'remote', 'id', 'upstream_id', 'seq'],
};
const filters = ['model', 'provider', 'key', 'endpoint', 'path']; // a click narrows the log to these

// recordDetails shows every field of a record, those that it does not know by their
// names. narrow(name, value) adds to the filter.
export function recordDetails(record, { close, narrow }) {
  const json = JSON.stringify(record, null, 2);
  const listed = new Set([...Object.values(groups).flat(), 'status']);
  const others = Object.keys(record).filter((name) => !listed.has(name));
  return [
    h('div', { class: 'drawer-head' },
      h('h2', null, statusBadge(record), ' ', h('span', { class: 'value' }, visible(record.model || record.path))),
      h('button', { type: 'button', class: 'quiet', onclick: close, 'aria-label': t('close') }, '✕')),
    h('div', { class: 'actions' },
      copyButton(() => json, t('record.copyJSON')),
      copyButton(() => record.id, t('record.copyId'))),
    Object.entries({ ...groups, others }).map(([group, names]) => section(record, group, names, narrow)),
    h('details', null, h('summary', null, 'JSON'), h('pre', { tabindex: '0', role: 'group', 'aria-label': 'JSON' }, json)),
  ];
}

function section(record, group, names, narrow) {
  const known = names.filter((name) => record[name] !== undefined);
  if (known.length === 0) return null;
  return h('section', null,
    h('h3', null, t(`record.${group}`)),
    h('dl', { class: 'fields' }, known.map((name) => [
      h('dt', null, has(`field.${name}`) ? t(`field.${name}`) : name),
      h('dd', { class: 'value' }, filters.includes(name)
        ? h('button', { type: 'button', class: 'link', title: t('record.narrow'), onclick: () => narrow(name, record[name]) }, visible(record[name]))
        : valueOf(name, record[name]))])));
}

// valueOf writes a value for a person.
function valueOf(name, value) {
  if (name === 'time') return moment(value);
  if (Array.isArray(value)) return h('ol', null, value.map((one) => h('li', null, visible(typeof one === 'object' ? JSON.stringify(one) : String(one)))));
  if (name.endsWith('_ms')) return millis(value);
  if (name.endsWith('_bytes')) return bytes(value);
  if (name.endsWith('_tokens')) return count(value);
  if (typeof value === 'boolean') return t(value ? 'yes' : 'no');
  return typeof value === 'object' ? JSON.stringify(value) : visible(String(value));
}
