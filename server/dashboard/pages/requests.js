// The requests: the live log, filtered by its address.

import * as api from '../api.js';
import { fill, h, setText } from '../dom.js';
import { Feed } from '../feed.js';
import { pick } from '../filter.js';
import { count } from '../format.js';
import { t } from '../i18n.js';
import { replace } from '../route.js';
import { FilterBox, filterMenus } from './filterbar.js';
import { LogTable } from './log.js';
import { recordDetails } from './record.js';

const formats = ['jsonl', 'csv']; // of an export

export const open = (main, params) => new RequestsPage(main, params);

class RequestsPage {
  keys = {
    '/': () => this.#box.select(),
    j: () => this.#move(1),
    k: () => this.#move(-1),
    Enter: () => this.#openCurrent(),
    Escape: () => this.#closeDrawer(),
    p: () => this.#pause(!this.#paused),
  };

  #filter;
  #selected; // the id of the record in the drawer
  #paused = false;
  #frame = 0;
  #feed = new Feed(() => this.#drawSoon());

  // The parts of the page.
  #box = new FilterBox({ typed: (filter) => this.#setFilter(filter, true), down: () => this.#move(1) });
  #menus = filterMenus((name, value) => this.#choose(name, value));
  #pauseButton = h('button', { type: 'button', onclick: () => this.#pause(!this.#paused) });
  #newPill = h('button', { type: 'button', class: 'pill', hidden: true, onclick: () => this.#showNew() });
  #exports = formats.map((format) =>
    h('a', { class: 'button', download: `requests.${format}`, 'aria-label': t('requests.export', { format }) }, format.toUpperCase()));
  #fault = h('p', { class: 'fault', role: 'alert' });
  #summary = h('p', { class: 'muted summary' });
  #table = new LogTable(this.#feed, {
    open: (record) => this.#openRecord(record),
    isOpen: (record) => record.id === this.#selected,
    scrolled: () => this.#hold(),
  });
  #empty = h('div', { class: 'empty' });
  #drawer = h('aside', { class: 'drawer', hidden: true, 'aria-label': t('requests.details'), tabindex: '-1' });

  constructor(main, params) {
    this.#filter = pick(params);
    this.#selected = params.row ?? null;
    fill(main,
      h('div', { class: 'requests' },
        h('h1', { class: 'unseen' }, t('page.requests')),
        h('div', { class: 'toolbar' }, this.#box.element, h('div', { class: 'actions' }, this.#pauseButton, this.#exports)),
        h('div', { class: 'toolbar' }, h('div', { class: 'menus' }, this.#menus.elements), this.#newPill, this.#summary),
        this.#fault,
        h('div', { class: 'log-and-drawer' }, h('div', { class: 'log-place' }, this.#table.element, this.#empty), this.#drawer)));
    this.#box.show(this.#filter);
    this.#pause(false);
    this.#applyFilter();
    if (this.#selected) this.#findRecord(this.#selected);
  }

  status(s) {
    if (s) this.#menus.status(s);
  }

  change(params) {
    const row = params.row ?? null;
    if (row !== this.#selected) {
      if (row) this.#findRecord((this.#selected = row));
      else this.#closeDrawer();
    }
    this.#setFilter(pick(params));
  }

  close() {
    this.#box.close();
    cancelAnimationFrame(this.#frame);
    this.#feed.close();
    this.#table.close();
  }

  // The filter.

  #choose(name, value) {
    const { [name]: _, ...rest } = this.#filter;
    this.#setFilter(value ? { ...rest, [name]: value } : rest);
  }

  // setFilter leaves the box alone while it is typed in.
  #setFilter(next, typed = false) {
    if (JSON.stringify(next) === JSON.stringify(this.#filter)) return;
    this.#filter = next;
    if (!typed) this.#box.show(next);
    this.#applyFilter();
    this.#writeAddress();
  }

  #applyFilter() {
    this.#menus.show(this.#filter);
    formats.forEach((format, i) => this.#exports[i].setAttribute('href', api.logsPath({ ...this.#filter, format })));
    this.#table.reset();
    this.#feed.open(this.#filter);
  }

  #writeAddress() {
    replace('requests', { ...this.#filter, row: this.#selected });
  }

  // Holding new rows back, while paused or scrolled into the past.

  #pause(on) {
    this.#paused = on;
    fill(this.#pauseButton, t(on ? 'requests.resume' : 'requests.pause'));
    this.#pauseButton.setAttribute('aria-pressed', on);
    this.#hold();
    this.#draw();
  }

  #hold() {
    if (this.#paused || !this.#table.atTop) this.#feed.hold();
    else this.#feed.release();
  }

  #showNew() {
    this.#table.toTop();
    this.#feed.release();
    if (this.#paused) this.#feed.hold();
    this.#table.element.focus();
  }

  // Drawing.

  #drawSoon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { rows, pending, loading, error } = this.#feed;
    setText(this.#fault, error ? (error.status ? error.message : t('unreachable')) : '');
    setText(this.#summary, summaryText(this.#feed, this.#paused));
    this.#newPill.hidden = pending.length === 0;
    if (pending.length > 0) setText(this.#newPill, t('requests.new', { n: pending.length, count: count(pending.length) }));
    this.#empty.hidden = rows.length > 0 || loading || Boolean(error);
    if (!this.#empty.hidden) setText(this.#empty, t(Object.keys(this.#filter).length ? 'requests.noMatch' : 'requests.none'));
    this.#table.draw();
  }

  // The drawer, which shows one record.

  #move(by) {
    this.#table.move(by);
    if (this.#selected) this.#openCurrent();
  }

  #openCurrent() {
    const record = this.#table.current;
    if (record) this.#openRecord(record);
  }

  #openRecord(record) {
    this.#selected = record.id;
    this.#showDrawer(record);
    this.#writeAddress();
  }

  // findRecord opens a record that need not be among the rows.
  async #findRecord(id) {
    try {
      const { data } = await api.logs({ id, limit: 1 });
      if (this.#selected !== id) return;
      if (data[0]) this.#showDrawer(data[0]);
      else this.#closeDrawer();
    } catch (e) {
      if (!(e instanceof api.ApiError)) throw e;
    }
  }

  #showDrawer(record) {
    this.#drawer.hidden = false;
    fill(this.#drawer, recordDetails(record, {
      close: () => this.#closeDrawer(),
      narrow: (name, value) => this.#setFilter({ ...this.#filter, [name]: value }),
    }));
    this.#drawer.scrollTop = 0;
    this.#table.mark();
  }

  #closeDrawer() {
    if (!this.#selected) return;
    const focused = this.#drawer.contains(document.activeElement);
    this.#selected = null;
    this.#drawer.hidden = true;
    fill(this.#drawer);
    this.#table.mark();
    if (focused) this.#table.focusCurrent();
    this.#writeAddress();
  }
}

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
