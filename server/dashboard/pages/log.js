// The log's table: the records of a feed, and the row that the keys move.

import { h, setText } from '../dom.js';
import { clock, millis, short, visible } from '../format.js';
import { t } from '../i18n.js';
import { VirtualRows } from '../rows.js';
import { outcome, statusText } from '../status.js';

const columns = ['time', 'status', 'model', 'provider', 'key', 'endpoint', 'tokens', 'ttft', 'duration', 'error'];

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

// LogTable shows the rows of a feed, and has it read on as the end comes near.
//   open(record)    is called for the row that is clicked
//   isOpen(record)  tells whether the record is shown elsewhere, whole
//   scrolled()      is called as the table scrolls
export class LogTable {
  element; // scrolls

  #feed;
  #open;
  #isOpen;
  #current = null; // the seq of the row that the keys move
  #body = h('tbody', { onpointerover: showWhole });
  #table = h('table', { class: 'log', 'aria-label': t('page.requests') },
    h('thead', null, h('tr', null, columns.map((c) => h('th', { scope: 'col', class: `c-${c}` }, t(`column.${c}`))))),
    this.#body);
  #rows;

  constructor(feed, { open, isOpen, scrolled }) {
    this.#feed = feed;
    this.#open = open;
    this.#isOpen = isOpen;
    this.element = h('div', {
      class: 'log-scroll', tabindex: '0', role: 'group', 'aria-label': t('page.requests'),
      onscroll: () => {
        scrolled();
        this.#readAhead();
      },
    }, this.#table);
    this.#rows = new VirtualRows({
      scroller: this.element, body: this.#body, key: (r) => r.seq,
      make: () => this.#makeRow(), fill: (row, record) => this.#fillRow(row, record),
    });
  }

  get atTop() {
    return this.element.scrollTop <= 0;
  }

  // current gives the record that the keys have moved to, if it is still there.
  get current() {
    return this.#feed.rows.find((r) => r.seq === this.#current);
  }

  close() {
    this.#rows.close();
  }

  // draw shows the feed as it is now. The focus stays in the table though its row goes.
  draw() {
    const { rows, hasMore } = this.#feed;
    const focused = this.#body.contains(document.activeElement);
    this.#rows.set(rows);
    if (focused && !this.#body.contains(document.activeElement)) this.element.focus({ preventScroll: true });
    this.#table.setAttribute('aria-rowcount', hasMore ? -1 : rows.length + 1);
    if (hasMore && this.element.scrollHeight <= this.element.clientHeight * 2) this.#feed.more();
  }

  // mark shows anew which row is current and which is open.
  mark() {
    this.#rows.refill();
  }

  // reset goes to the top, with no current row.
  reset() {
    this.toTop();
    this.#current = null;
  }

  toTop() {
    this.element.scrollTop = 0;
  }

  // move makes the row that is by rows further down the current one, or the first if
  // there is none, and focuses it.
  move(by) {
    const { rows } = this.#feed;
    if (rows.length === 0) return;
    const at = rows.findIndex((r) => r.seq === this.#current);
    const to = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
    this.#current = rows[to].seq;
    const row = this.#rows.reveal(to);
    this.mark();
    row?.querySelector('button').focus({ preventScroll: true });
  }

  focusCurrent() {
    (this.#body.querySelector('[aria-current] button') ?? this.element).focus({ preventScroll: true });
  }

  #readAhead() {
    if (this.element.scrollTop + 3 * this.element.clientHeight > this.element.scrollHeight) this.#feed.more();
  }

  #makeRow() {
    const row = h('tr', { onclick: () => this.#click(row.record) });
    row.append(...columns.map((c, i) => (i === 0
      ? h('th', { scope: 'row', class: `c-${c}` }, h('button', { type: 'button', class: 'link' }))
      : h('td', { class: `c-${c} value` }))));
    return row;
  }

  #fillRow(row, record) {
    row.record = record;
    const [time, ...cells] = row.children;
    setText(time.firstChild, clock(record.time));
    cells.forEach((cell, i) => setText(cell, visible(cellText[columns[i + 1]](record))));
    cells[0].className = `c-status status ${outcome(record)}`;
    row.classList.toggle('open', this.#isOpen(record));
    if (record.seq === this.#current) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
  }

  #click(record) {
    this.#current = record.seq;
    this.#open(record);
  }
}

// showWhole gives a cell that may be cut off its whole text as a title.
function showWhole(event) {
  const cell = event.target.closest('td');
  if (cell) cell.title = cell.textContent;
}
