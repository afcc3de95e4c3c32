// How the outcome of a request, and the state of a provider, look: always a sign and
// a word or number, never a colour alone.

import { h } from './dom.js';
import { t } from './i18n.js';

// outcome gives the class of a record: good, left (499), warn (4xx), bad (5xx, and
// streams that failed after their 200).
export function outcome(record) {
  if (record.status === 499) return 'left';
  if (record.status >= 500 || (record.status < 400 && record.error_type)) return 'bad';
  return record.status >= 400 ? 'warn' : 'good';
}

const signs = { good: '✓', left: '↩', warn: '▲', bad: '✕' };

export const statusText = (record) => `${signs[outcome(record)]} ${record.status}`;

export function statusBadge(record) {
  return h('span', { class: `status ${outcome(record)}` }, statusText(record));
}

const states = { untested: ['left', '○'], ready: ['good', '✓'], degraded: ['warn', '▲'], failing: ['bad', '✕'], disabled: ['left', '–'] };

export function stateBadge(state) {
  const [kind, sign] = states[state] ?? ['warn', '?'];
  return h('span', { class: `status ${kind}` }, `${sign} ${states[state] ? t(`provider.${state}`) : state}`);
}
