// The providers: which work, what they serve, what failed last.

import * as api from '../api.js';
import { confirm } from '../dialog.js';
import { fill, h, newId, table } from '../dom.js';
import { ago, count, millis, moment, percent, short } from '../format.js';
import { t } from '../i18n.js';
import { every } from '../poll.js';
import { link } from '../route.js';
import { stateBadge } from '../status.js';

export function open(main) {
  const list = h('div', { class: 'providers' });
  const aliases = h('div');
  const cards = new Map(); // name → its card
  let last = null;
  let usage = new Map();

  fill(main, h('h1', null, t('page.providers')), list, aliases);

  function draw() {
    if (!last) return;
    const names = last.providers.map((p) => p.name);
    if (JSON.stringify(names) !== JSON.stringify([...cards.keys()])) {
      cards.clear();
      for (const name of names) cards.set(name, card(name));
      fill(list, names.length ? [...cards.values()].map((c) => c.element) : h('p', { class: 'empty' }, t('providers.none')));
    }
    for (const p of last.providers) cards.get(p.name).show(p, usage.get(p.name));
  }

  let drawnAliases = '';
  function drawAliases() {
    const rows = Object.entries(last?.aliases ?? {});
    if (JSON.stringify(rows) === drawnAliases) return;
    drawnAliases = JSON.stringify(rows);
    fill(aliases, h('section', { class: 'panel', 'aria-labelledby': 'aliases-title' },
      h('h2', { id: 'aliases-title' }, t('providers.aliases')),
      rows.length === 0 ? h('p', { class: 'muted' }, t('providers.noAliases')) : h('div', { class: 'scroll', role: 'group', tabindex: '0', 'aria-label': t('providers.aliases') }, table({
        columns: [t('providers.alias'), t('providers.target')],
        rows: rows.map(([name, to]) => [h('code', { class: 'value' }, name), h('code', { class: 'value' }, to)]),
      }))));
  }

  const poll = every(15000, async () => {
    try {
      const stats = await api.stats({ window: '24h', by: 'provider' });
      usage = new Map((stats.groups ?? []).map((g) => [g.name, g]));
      draw();
    } catch (e) {
      if (!(e instanceof api.ApiError)) throw e;
    }
  });
  return {
    status(s) {
      if (!s) return;
      last = s;
      draw();
      drawAliases();
    },
    close: poll.stop,
    keys: {},
  };
}

function card(name) {
  const id = newId();
  const badge = h('span');
  const about = h('div');
  const result = h('div', { class: 'test-result', role: 'status' });
  const test = h('button', { type: 'button', 'aria-label': t('providers.testName', { name }), onclick: () => run() }, t('providers.test'));
  let drawn = '';

  // run lists the provider's models, or has one of them say something.
  async function run(model) {
    test.disabled = true;
    fill(result, h('p', { class: 'muted' }, t('providers.testing')));
    try {
      showResult(await api.testProvider(name, model), model);
    } catch (e) {
      fill(result, h('p', { class: 'fault' }, e.status ? e.message : t('unreachable')));
    }
    test.disabled = false;
  }
  function showResult(r, model) {
    if (!r.ok) {
      fill(result, h('p', { class: 'fault' }, `✕ ${millis(r.ms)} · ${r.error}`));
    } else if (model) {
      fill(result, h('p', { class: 'status good' }, `✓ ${millis(r.ms)} · ${model}`), h('pre', { class: 'value' }, r.text));
    } else {
      fill(result,
        h('p', { class: 'status good' }, `✓ ${millis(r.ms)} · ${t('providers.listed', { n: r.models.length, count: count(r.models.length) })}`),
        r.models.length > 0 && h('p', { class: 'muted' }, t('providers.tryOne')),
        h('ul', { class: 'chips' }, r.models.map((m) => h('li', null, h('button', { type: 'button', class: 'chip value', onclick: () => ask(m) }, m)))));
    }
  }
  async function ask(model) {
    const yes = await confirm({
      title: t('providers.ask'), text: t('providers.cost', { name, model }), action: t('providers.send'),
    });
    if (yes) run(model);
  }

  return {
    element: h('article', { class: 'panel', 'aria-labelledby': id },
      h('div', { class: 'panel-head' }, h('h2', { id }, h('span', { class: 'value' }, name), ' ', badge), test),
      about, result),
    show(p, sum) {
      const now = JSON.stringify([p, sum]);
      if (now === drawn) return;
      drawn = now;
      test.disabled = p.state === 'disabled';
      fill(badge, stateBadge(p.state));
      fill(about, facts(p, sum));
    },
  };
}

function facts(p, sum) {
  const resting = (p.targets ?? []).filter((one) => one.rests_until && new Date(one.rests_until) > new Date());
  const rows = [
    p.reason && [t('providers.reason'), h('span', { class: `status value ${p.state === 'failing' ? 'bad' : 'left'}` }, p.reason)],
    [t('providers.type'), p.type],
    p.base_url && [t('providers.url'), h('code', { class: 'value' }, p.base_url)],
    [t('providers.models'), p.models?.length
      ? h('ul', { class: 'chips' }, p.models.map((m) => h('li', { class: 'chip value' }, m)))
      : h('span', { class: 'muted' }, t('providers.byName'))],
    [t('providers.today'), sum
      ? h('a', { href: link('requests', { provider: p.name, since: '24h' }) },
        t('providers.sums', { requests: count(sum.requests), share: percent(sum.error_rate), input: short(sum.tokens.input), output: short(sum.tokens.output), p50: millis(sum.duration_ms?.p50) }))
      : t('providers.unused')],
    resting.length > 0 && [t('providers.resting'), h('ul', null, resting.map((one) => h('li', { class: 'value' },
      t('providers.rests', { model: one.model || '*', n: one.failures, when: ago(one.rests_until) }))))],
    p.last_error && [t('providers.lastError'), [
      h('time', { datetime: p.last_error.time, title: moment(p.last_error.time) }, ago(p.last_error.time)),
      h('span', { class: 'value' }, ` ${[p.last_error.error_type, p.last_error.error].filter(Boolean).join(': ')} `),
      h('a', { href: link('requests', { provider: p.name, status: 'error' }) }, t('providers.seeErrors'))]],
  ];
  return h('dl', { class: 'fields' }, rows.filter(Boolean).map(([name, value]) => [h('dt', null, name), h('dd', null, value)]));
}
