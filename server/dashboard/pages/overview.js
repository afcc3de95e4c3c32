// The overview: whether the gateway works, what failed last, how to connect.

import * as api from '../api.js';
import { Chart, everyStep } from '../charts.js';
import { copyButton } from '../dialog.js';
import { fill, h, newId, setText } from '../dom.js';
import { ago, count, millis, moment, percent, short, span, visible } from '../format.js';
import { t } from '../i18n.js';
import { every } from '../poll.js';
import { link } from '../route.js';
import { serviceButtons } from '../service.js';
import { statusBadge } from '../status.js';

const windows = { '1h': '1m', '24h': '30m', '7d': '3h' }; // window: step
const errorRows = 6;
const noRecords = { requests: 0, errors: { '4xx': 0, '5xx': 0, 499: 0, stream: 0 }, error_rate: null, tokens: {} };

// What a person has chosen stays while the dashboard is open.
const choice = { window: '1h', client: 'curl', model: '' };

export function open(main, _params, app) {
  const state = stateParts();
  const connect = connectParts();
  const errors = h('div', { class: 'errors' });
  const charts = chartParts();

  fill(main,
    h('h1', { class: 'unseen' }, t('page.overview')),
    h('div', { class: 'overview' },
      state.element,
      connect.element,
      h('section', { class: 'panel', 'aria-labelledby': 'errors-title' },
        h('div', { class: 'panel-head' },
          h('h2', { id: 'errors-title' }, t('overview.errors')),
          h('a', { href: link('requests', { status: 'error' }) }, t('overview.allErrors'))),
        errors),
      charts.element));

  const polls = [
    state.poll,
    every(3000, () => quietly(async () => showErrors(errors, (await api.logs({ status: 'error', limit: errorRows })).data))),
    charts.poll,
  ];
  quietly(async () => connect.models(await api.models()));
  return {
    status(s, fault) {
      state.status(s, fault, app);
      if (s) connect.status(s);
    },
    close: () => polls.forEach((p) => p.stop()),
  };
}

// quietly leaves what is shown as it is while the gateway cannot be asked; the state
// says so already.
async function quietly(work) {
  try {
    await work();
  } catch (e) {
    if (!(e instanceof api.ApiError)) throw e;
  }
}

function stateParts() {
  const title = h('p', { class: 'state' });
  const detail = h('p', { class: 'muted' });
  const buttons = h('div', { class: 'actions' });
  const alerts = h('ul', { class: 'alerts' });
  let hour = null;
  let drawn = '';
  const poll = every(10000, () => quietly(async () => {
    hour = await api.stats({ window: '1h' });
  }));
  return {
    element: h('section', { class: 'panel state-panel', 'aria-label': t('overview.state') },
      h('div', { class: 'state-line' }, h('div', null, title, detail), buttons), alerts),
    poll,
    status(s, fault, app) {
      const kind = s ? s.state : 'unreachable';
      title.className = `state ${kind}`;
      setText(title, t(`state.${kind}.long`));
      setText(detail, s ? details(s, hour) : fault);
      const now = JSON.stringify([kind, s && trouble(s)]);
      if (now === drawn) return;
      drawn = now;
      fill(buttons, s && serviceButtons(s.state, app));
      fill(alerts, s && trouble(s).map(([level, text, href, label]) =>
        h('li', { class: level }, h('span', null, text), href && h('a', { href }, label))));
    },
  };
}

function details(s, hour) {
  const parts = [
    t('overview.up', { span: span(s.uptime_s) }),
    t('overview.inFlight', { n: s.in_flight }) + (s.streams ? t('overview.streams', { n: s.streams }) : ''),
  ];
  if (hour) {
    parts.push(t('overview.hour', { n: hour.requests, requests: count(hour.requests) })
      + (hour.requests ? t('overview.failed', { share: percent(hour.error_rate) }) : ''));
  }
  return parts.join(' · ');
}

// trouble lists what an operator should see: [level, text, link, its label].
function trouble(s) {
  const list = [];
  if (s.reload_fault) list.push(['bad', t('trouble.reload', { fault: s.reload_fault }), link('settings'), t('page.settings')]);
  if (s.need_restart?.length) list.push(['warn', t('trouble.restart', { names: s.need_restart.join(', ') })]);
  if (s.log_dropped) list.push(['bad', t('trouble.dropped', { n: s.log_dropped })]);
  for (const p of s.providers.filter((one) => one.state === 'failing')) {
    list.push(['bad', t('trouble.failing', { name: p.name, reason: p.reason || p.last_error?.error || '' }), link('providers'), t('page.providers')]);
  }
  const ready = s.providers.filter((p) => p.state !== 'disabled');
  if (ready.length === 0) list.push(['bad', t('trouble.none'), link('settings'), t('page.settings')]);
  else if (ready.every((p) => p.type === 'demo')) list.push(['info', t('trouble.demo'), link('providers'), t('page.providers')]);
  return list;
}

function connectParts() {
  const addresses = h('dl', { class: 'addresses' });
  const model = h('select', { id: newId(), onchange: () => load((choice.model = model.value)) });
  const tabs = h('div', { class: 'tabs', role: 'group', 'aria-label': t('overview.client') });
  const text = h('div', { class: 'snippets' });
  let list = [];
  let drawn = '';

  async function load() {
    try {
      list = await api.snippets(choice.model);
    } catch {
      return; // the next status asks again
    }
    draw();
  }

  function draw() {
    fill(tabs, list.map(({ client, title }) => h('button', {
      type: 'button', 'aria-pressed': String(client === choice.client), onclick: () => draw((choice.client = client)),
    }, title)));
    const shown = list.find(({ client }) => client === choice.client);
    if (!shown) return;
    fill(text, h('div', { class: 'snippet' },
      h('div', { class: 'snippet-head' }, h('span', { class: 'muted' }, shown.title),
        copyButton(() => shown.text, t('copy'), t('snippet.copy', { what: shown.title }))),
      h('pre', { tabindex: '0', 'aria-label': shown.title, role: 'group' }, shown.text)));
  }

  return {
    element: h('section', { class: 'panel', 'aria-labelledby': 'connect-title' },
      h('div', { class: 'panel-head' }, h('h2', { id: 'connect-title' }, t('overview.connect')),
        h('label', { class: 'inline' }, t('model'), model)),
      addresses,
      tabs,
      text),
    status(s) {
      const next = `${s.openai_base_url} ${s.admin_key_file}`;
      if (next === drawn && list.length) return;
      drawn = next;
      fill(addresses, [['OpenAI', s.openai_base_url], ['Claude', s.anthropic_base_url]].map(([name, url]) => [
        h('dt', null, name),
        h('dd', null, h('code', null, url), copyButton(() => url, t('copy'), t('snippet.copy', { what: name })))]));
      load();
    },
    models(names) {
      if (!choice.model || !names.includes(choice.model)) choice.model = names[0] ?? '';
      fill(model, names.map((name) => h('option', { selected: name === choice.model }, name)));
      model.value = choice.model;
      load();
    },
  };
}

function showErrors(place, rows) {
  const focused = place.contains(document.activeElement) && document.activeElement.getAttribute('href');
  fill(place, rows.length === 0
    ? h('p', { class: 'empty good' }, t('overview.noErrors'))
    : h('ul', null, rows.map((r) => h('li', null,
      h('a', { href: link('requests', { status: 'error', row: r.id }) },
        statusBadge(r),
        h('span', { class: 'value what' }, visible(r.model) || `${r.method} ${r.path}`),
        h('time', { datetime: r.time, title: moment(r.time) }, ago(r.time)),
        h('span', { class: 'value why' }, visible([r.error_type, r.error].filter(Boolean).join(': '))))))));
  if (focused) place.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
}

function chartParts() {
  const failed = (p) => p.errors['4xx'] + p.errors['5xx'] + p.errors['499'] + p.errors.stream;
  const charts = {
    requests: new Chart({
      title: t('chart.requests'),
      format: short,
      series: [
        { name: t('chart.good'), kind: 'bar', tone: 'first', value: (p) => p.requests - failed(p) },
        { name: t('chart.failed'), kind: 'bar', tone: 'bad', value: failed },
      ],
    }),
    errors: new Chart({
      title: t('chart.errorRate'),
      format: (v) => (v === null ? '–' : percent(v)),
      series: [{ name: t('chart.errorRate'), kind: 'line', tone: 'bad', value: (p) => p.error_rate }],
    }),
    tokens: new Chart({
      title: t('chart.tokens'),
      format: short,
      series: [
        { name: t('chart.input'), kind: 'bar', tone: 'first', value: (p) => p.tokens.input ?? 0 },
        { name: t('chart.output'), kind: 'bar', tone: 'second', value: (p) => p.tokens.output ?? 0 },
      ],
    }),
    latency: new Chart({
      title: t('chart.latency'),
      format: millis,
      series: [
        { name: 'p50', kind: 'line', tone: 'first', value: (p) => p.duration_ms?.p50 ?? null },
        { name: 'p95', kind: 'line', tone: 'second', value: (p) => p.duration_ms?.p95 ?? null },
      ],
    }),
  };
  const buttons = Object.keys(windows).map((name) => h('button', {
    type: 'button',
    onclick() {
      choice.window = name;
      mark();
      poll.now();
    },
  }, t(`window.${name}`)));
  const mark = () => buttons.forEach((b, i) => b.setAttribute('aria-pressed', Object.keys(windows)[i] === choice.window));
  mark();
  const poll = every(10000, () => quietly(async () => {
    const stats = await api.stats({ window: choice.window, step: windows[choice.window] });
    const points = everyStep(stats, noRecords);
    const show = (name, summary) => charts[name].update(points, stats.step_seconds, summary);
    show('requests', count(stats.requests));
    show('errors', stats.requests ? percent(stats.error_rate) : '–');
    show('tokens', t('chart.inOut', { input: short(stats.tokens.input), output: short(stats.tokens.output) }));
    show('latency', `p50 ${millis(stats.duration_ms?.p50)} · p95 ${millis(stats.duration_ms?.p95)}`);
  }));
  return {
    poll,
    element: h('section', { class: 'panel wide', 'aria-labelledby': 'charts-title' },
      h('div', { class: 'panel-head' }, h('h2', { id: 'charts-title' }, t('overview.charts')),
        h('div', { class: 'tabs', role: 'group', 'aria-label': t('overview.window') }, buttons)),
      h('div', { class: 'charts' }, Object.values(charts).map((c) => c.element))),
  };
}
