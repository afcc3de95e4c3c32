// Stop, start, restart and reload, each confirmed in words where it costs someone
// something.

import * as api from './api.js';
import { confirm, notify } from './dialog.js';
import { h } from './dom.js';
import { t } from './i18n.js';

// serviceButtons gives the buttons that make sense in a state.
export function serviceButtons(state, app) {
  const button = (action, kind) =>
    h('button', { type: 'button', class: kind, onclick: () => perform(action, app) }, t(`service.${action}`));
  if (state === 'paused') return [button('start', 'primary'), button('restart'), button('reload')];
  return [button('reload'), button('restart'), button('stop', 'danger')];
}

// perform does an action, after asking if requests are at stake.
export async function perform(action, app) {
  if (action === 'stop' || action === 'restart') {
    const s = await api.status().catch(() => null);
    const moves = action === 'restart' && s?.need_restart?.some((name) => name.startsWith('server.'));
    const text = [going(s), t(`service.${action}.ask`), moves && t('service.moves')].filter(Boolean).join(' ');
    if (!await confirm({ title: t(`service.${action}.title`), text, action: t(`service.${action}`), danger: action === 'stop' })) return;
  }
  try {
    await api.service(action);
    notify(t(`service.${action}.done`));
  } catch (e) {
    notify(t('service.failed', { what: t(`service.${action}`), why: e.status ? faultText(e) : t('unreachable') }), 'bad');
  }
  app.refresh();
}

// going says in words what is under way.
function going(s) {
  if (!s) return '';
  if (!s.in_flight) return t('service.idle');
  return t('service.going', { n: s.in_flight, streams: s.streams ? t('overview.streams', { n: s.streams }) : '' });
}

// faultText gives an error with the faults that came along.
function faultText(e) {
  const faults = (e.body.error?.faults ?? []).map((f) => (typeof f === 'string' ? f : f.message));
  return [e.message, ...faults].join('\n');
}
