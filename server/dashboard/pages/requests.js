// The requests: the live log, filtered by its address.

import * as api from '../api.js';
import { fill, h, newId, setText } from '../dom.js';
import { Feed } from '../feed.js';
import { parse, pick, print } from '../filter.js';
import { clock, count, millis, short, visible } from '../format.js';
import { t } from '../i18n.js';
import { replace } from '../route.js';
import { VirtualRows } from '../rows.js';
import { outcome, statusText } from '../status.js';
import { recordDetails } from './record.js';

const columns = ['time', 'status', 'model', 'provider', 'key', 'endpoint', 'tokens', 'ttft', 'duration', 'error'];

export function open(main, params) {
  let filter = pick(params);
  let selected = params.row ?? null; // the id of the row in the drawer
  let current = null; // the seq of the row that j and k move
  let paused = false;
  let frame = 0;

  const feed = new Feed(() => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  });

  // The parts of the page.
  const box = h('input', {
    type: 'search', id: newId(), spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', enterkeyhint: 'search',
    placeholder: t('filter.placeholder'), 'aria-describedby': 'filter-help', oninput: () => settle(300), onkeydown: boxKey,
  });
  const menus = filterMenus((name, value) => {
    const { [name]: _, ...rest } = filter;
    setFilter(value ? { ...rest, [name]: value } : rest);
  });
  const pauseButton = h('button', { type: 'button', onclick: () => pause(!paused) });
  const newPill = h('button', { type: 'button', class: 'pill', hidden: true, onclick: showNew });
  const exports = ['jsonl', 'csv'].map((format) =>
    h('a', { class: 'button', download: `requests.${format}`, 'aria-label': t('requests.export', { format }) }, format.toUpperCase()));
  const fault = h('p', { class: 'fault', role: 'alert' });
  const summary = h('p', { class: 'muted summary' });
  const body = h('tbody', { onpointerover: showWhole });
  const table = h('table', { class: 'log', 'aria-label': t('page.requests') },
    h('thead', null, h('tr', null, columns.map((c) => h('th', { scope: 'col', class: `c-${c}` }, t(`column.${c}`))))),
    body);
  const scroller = h('div', { class: 'log-scroll', tabindex: '0', role: 'group', 'aria-label': t('page.requests'), onscroll: scrolled }, table);
  const empty = h('div', { class: 'empty' });
  const drawer = h('aside', { class: 'drawer', hidden: true, 'aria-label': t('requests.details'), tabindex: '-1' });
  const rows = new VirtualRows({ scroller, body, make: makeRow, fill: fillRow, key: (r) => r.seq });

  fill(main,
    h('div', { class: 'requests' },
      h('h1', { class: 'unseen' }, t('page.requests')),
      h('div', { class: 'toolbar' },
        h('form', { class: 'filter', role: 'search', onsubmit: (e) => { e.preventDefault(); settle(0); } },
          h('label', { for: box.id, class: 'unseen' }, t('filter.label')), box,
          h('span', { id: 'filter-help', class: 'unseen' }, t('filter.help'))),
        h('div', { class: 'actions' }, pauseButton, exports)),
      h('div', { class: 'toolbar' }, h('div', { class: 'menus' }, menus.elements), newPill, summary),
      fault,
      h('div', { class: 'log-and-drawer' }, h('div', { class: 'log-place' }, scroller, empty), drawer)));

  setBox();
  pause(false);
  applyFilter();
  if (selected) openDrawer(selected);

  // The filter.
  let typing = 0;
  function settle(ms) {
    clearTimeout(typing);
    typing = setTimeout(() => setFilter(parse(box.value), true), ms);
  }
  function boxKey(event) {
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      move(1);
    }
  }
  function setFilter(next, typed = false) {
    if (JSON.stringify(next) === JSON.stringify(filter)) return;
    filter = next;
    if (!typed) setBox();
    applyFilter();
    address();
  }
  function setBox() {
    box.value = print(filter);
  }
  function applyFilter() {
    menus.show(filter);
    ['jsonl', 'csv'].forEach((format, i) => exports[i].setAttribute('href', api.logsPath({ ...filter, format })));
    scroller.scrollTop = 0;
    current = null;
    feed.open(filter);
  }
  function address() {
    replace('requests', { ...filter, row: selected });
  }

  // Holding new rows back, while paused or scrolled into the past.
  function pause(on) {
    paused = on;
    fill(pauseButton, t(on ? 'requests.resume' : 'requests.pause'));
    pauseButton.setAttribute('aria-pressed', on);
    hold();
    draw();
  }
  function hold() {
    if (paused || scroller.scrollTop > 0) feed.hold();
    else feed.release();
  }
  function showNew() {
    scroller.scrollTop = 0;
    feed.release();
    if (paused) feed.hold();
    scroller.focus();
  }
  function scrolled() {
    hold();
    if (scroller.scrollTop + 3 * scroller.clientHeight > scroller.scrollHeight) feed.more();
  }

  // The table.
  function makeRow() {
    const row = h('tr', { onclick: () => openRow(row.record) });
    row.append(...columns.map((c, i) => (i === 0
      ? h('th', { scope: 'row', class: `c-${c}` }, h('button', { type: 'button', class: 'link' }))
      : h('td', { class: `c-${c} value` }))));
    return row;
  }
  function fillRow(row, r) {
    row.record = r;
    const [time, ...cells] = row.children;
    setText(time.firstChild, clock(r.time));
    cells.forEach((cell, i) => setText(cell, visible(cellText[columns[i + 1]](r))));
    cells[0].className = `c-status status ${outcome(r)}`;
    mark(row);
  }
  function mark(row) {
    row.classList.toggle('open', row.record.id === selected);
    if (row.record.seq === current) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
  }
  function draw() {
    const focused = body.contains(document.activeElement);
    rows.set(feed.rows);
    if (focused && !body.contains(document.activeElement)) scroller.focus({ preventScroll: true });
    table.setAttribute('aria-rowcount', feed.hasMore ? -1 : feed.rows.length + 1);
    drawFaults();
    setText(summary, summaryText(feed, paused));
    newPill.hidden = feed.pending.length === 0;
    if (!newPill.hidden) setText(newPill, t('requests.new', { n: feed.pending.length, count: count(feed.pending.length) }));
    empty.hidden = feed.rows.length > 0 || feed.loading || Boolean(feed.error);
    if (!empty.hidden) setText(empty, t(Object.keys(filter).length ? 'requests.noMatch' : 'requests.none'));
    if (feed.hasMore && scroller.scrollHeight <= scroller.clientHeight * 2) feed.more();
  }
  function drawFaults() {
    setText(fault, feed.error ? (feed.error.status ? feed.error.message : t('unreachable')) : '');
  }

  // Moving about.
  function move(by) {
    if (feed.rows.length === 0) return;
    const at = feed.rows.findIndex((r) => r.seq === current);
    const to = at < 0 ? 0 : Math.max(0, Math.min(feed.rows.length - 1, at + by));
    current = feed.rows[to].seq;
    const row = rows.reveal(to);
    rows.refill();
    row?.querySelector('button').focus({ preventScroll: true });
    if (selected) openRow(feed.rows[to]);
  }
  function openCurrent() {
    const row = feed.rows.find((r) => r.seq === current);
    if (row) openRow(row);
  }

  // The drawer.
  function openRow(record) {
    current = record.seq;
    selected = record.id;
    showDrawer(record);
    address();
  }
  async function openDrawer(id) {
    try {
      const { data } = await api.logs({ id, limit: 1 });
      if (selected !== id) return;
      if (data[0]) showDrawer(data[0]);
      else closeDrawer();
    } catch (e) {
      if (!(e instanceof api.ApiError)) throw e;
    }
  }
  function showDrawer(record) {
    drawer.hidden = false;
    fill(drawer, recordDetails(record, { close: closeDrawer, narrow: (name, value) => setFilter({ ...filter, [name]: value }) }));
    drawer.scrollTop = 0;
    rows.refill();
  }
  function closeDrawer() {
    if (!selected) return;
    const had = drawer.contains(document.activeElement);
    selected = null;
    drawer.hidden = true;
    fill(drawer);
    rows.refill();
    if (had) (body.querySelector('[aria-current] button') ?? scroller).focus({ preventScroll: true });
    address();
  }

  return {
    status: (s) => s && menus.status(s),
    change(next) {
      if ((next.row ?? null) !== selected) {
        if (next.row) openDrawer((selected = next.row));
        else closeDrawer();
      }
      setFilter(pick(next));
    },
    close() {
      clearTimeout(typing);
      cancelAnimationFrame(frame);
      feed.close();
      rows.close();
    },
    keys: {
      '/': () => box.select(),
      j: () => move(1),
      k: () => move(-1),
      Enter: openCurrent,
      Escape: closeDrawer,
      p: () => pause(!paused),
    },
  };
}

const cellText = {
  status: statusText,
  model: (r) => r.model ?? '',
  provider: (r) => r.provider ?? '',
  key: (r) => r.key ?? '',
  endpoint: (r) => (!r.endpoint || r.endpoint === 'other' ? `${r.method} ${r.path}` : r.endpoint) + (r.stream ? ' »' : ''),
  tokens: (r) => (r.input_tokens === undefined && r.output_tokens === undefined ? '' : `${short(r.input_tokens)} → ${short(r.output_tokens)}`),
  ttft: (r) => (r.ttft_ms === undefined ? '' : millis(r.ttft_ms)),
  duration: (r) => millis(r.duration_ms),
  error: (r) => [r.error_type, r.error].filter(Boolean).join(': '),
};

function summaryText(feed, paused) {
  if (feed.error && feed.rows.length === 0) return '';
  const parts = [];
  if (feed.loading && feed.rows.length === 0) parts.push(t('loading'));
  else parts.push(t(feed.hasMore ? 'requests.countMore' : 'requests.count', { n: feed.rows.length, count: count(feed.rows.length) }));
  if (paused) parts.push(t('requests.paused'));
  else if (feed.held) parts.push(t('requests.held'));
  else parts.push(t(feed.connected ? 'requests.live' : 'requests.connecting'));
  if (feed.lost) parts.push(t('requests.lost', { n: feed.lost }));
  if (feed.clipped) parts.push(t('requests.clipped'));
  if (feed.truncated) parts.push(t('requests.truncated'));
  return parts.join(' · ');
}

// showWhole gives a cell that may be cut off its whole text as a title.
function showWhole(event) {
  const cell = event.target.closest('td');
  if (cell) cell.title = cell.textContent;
}

// filterMenus are the choices beside the filter box; choose is called with a name
// and a value, which is empty for any.
function filterMenus(choose) {
  const fixed = {
    status: [['error', t('menu.error')], ['2xx', '2xx'], ['4xx', '4xx'], ['5xx', '5xx'], ['499', t('menu.left')]],
    since: ['15m', '1h', '24h', '7d'].map((w) => [w, t(`window.${w}`)]),
    stream: [['true', t('menu.stream')], ['false', t('menu.plain')]],
  };
  const menus = {};
  for (const name of ['status', 'since', 'model', 'provider', 'key', 'stream']) {
    menus[name] = { options: fixed[name] ?? [], value: '', select: null };
    menus[name].select = h('select', { 'aria-label': t(`filter.${name}`), onchange: (e) => choose(name, e.target.value) });
    draw(name);
  }

  function draw(name) {
    const { options, value, select } = menus[name];
    const own = value && !options.some(([v]) => v === value) ? [[value, value]] : [];
    fill(select, h('option', { value: '' }, t(`menu.any.${name}`)), [...options, ...own].map(([v, label]) => h('option', { value: v }, label)));
    select.value = value;
    select.classList.toggle('set', value !== '');
  }
  function setOptions(name, values) {
    const options = values.filter(Boolean).map((v) => [v, v]);
    if (JSON.stringify(options) === JSON.stringify(menus[name].options)) return;
    menus[name].options = options;
    draw(name);
  }

  api.stats({ window: '24h', by: 'model' })
    .then((s) => setOptions('model', (s.groups ?? []).slice(0, 50).map((g) => g.name)))
    .catch(() => {}); // the box does without
  return {
    elements: Object.values(menus).map((m) => m.select),
    show(filter) {
      for (const name of Object.keys(menus)) {
        menus[name].value = filter[name] ?? '';
        draw(name);
      }
    },
    status(s) {
      setOptions('provider', s.providers.map((p) => p.name));
      setOptions('key', s.keys.map((k) => k.name));
    },
  };
}
