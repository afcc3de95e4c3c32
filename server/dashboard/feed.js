// The live request log: newest first, followed as it grows, continued into the past
// on demand.

import { logs, logsPath } from './api.js';

const pageSize = 200; // rows of the first page, and of the follower's overlap with it
const moreSize = 1000;
const maxRows = 20000; // kept; the oldest go first
const retryAfter = 2000;

// Feed holds rows, which are shown, and pending, which wait while it is held.
export class Feed {
  rows = [];
  pending = [];
  held = false;
  loading = false;
  connected = false;
  clipped = false; // the oldest rows were let go
  truncated = false; // the gateway ran out of time; older rows may exist
  lost = 0; // rows that the gateway could not send in time
  error = null;

  #changed;
  #filter = {};
  #next = null;
  #newest = 0;
  #source = null;
  #abort = new AbortController();
  #retry = 0;

  // changed is called after each change, which may be often.
  constructor(changed) {
    this.#changed = changed;
  }

  get hasMore() {
    return Boolean(this.#next);
  }

  // open begins anew with a filter.
  async open(filter) {
    this.close();
    const { signal } = (this.#abort = new AbortController());
    this.#filter = filter;
    Object.assign(this, { rows: [], pending: [], clipped: false, truncated: false, lost: 0, error: null, loading: true });
    this.#changed();
    try {
      const page = await logs({ ...filter, limit: pageSize }, signal);
      if (signal.aborted) return;
      this.#take(page);
      this.#newest = this.rows[0]?.seq ?? 0;
      this.#follow();
    } catch (e) {
      if (signal.aborted) return;
      this.error = e;
      if (e.status === 0 || e.status >= 500) this.#reopen();
    }
    this.loading = false;
    this.#changed();
  }

  // more appends the next page of the past.
  async more() {
    if (this.loading || !this.#next || this.clipped) return;
    const { signal } = this.#abort;
    this.loading = true;
    this.#changed();
    try {
      const page = await logs({ ...this.#filter, limit: moreSize, cursor: this.#next }, signal);
      if (signal.aborted) return;
      this.#take(page);
    } catch (e) {
      if (signal.aborted) return;
      this.error = e;
      this.#next = null;
    }
    this.loading = false;
    this.#changed();
  }

  // hold keeps new rows aside; release shows them.
  hold() {
    this.held = true;
  }

  release() {
    this.held = false;
    if (this.pending.length === 0) return;
    this.rows = this.pending.concat(this.rows);
    this.pending = [];
    this.#clip();
    this.#changed();
  }

  close() {
    clearTimeout(this.#retry);
    this.#abort.abort();
    this.#source?.close();
    this.connected = false;
  }

  #take(page) {
    this.rows = this.rows.concat(page.data);
    this.#next = page.next ?? null;
    this.truncated = Boolean(page.truncated);
  }

  // follow overlaps with the page that was read, so that no row falls between them.
  #follow() {
    const source = new EventSource(logsPath({ ...this.#filter, follow: 1, limit: pageSize }));
    this.#source = source;
    source.onopen = () => {
      this.connected = true;
      this.#changed();
    };
    source.onmessage = (event) => this.#add(JSON.parse(event.data));
    source.addEventListener('gap', (event) => {
      this.lost += JSON.parse(event.data).lost;
      this.#changed();
    });
    source.onerror = () => {
      this.connected = false;
      if (source.readyState === EventSource.CLOSED) this.#reopen();
      this.#changed();
    };
  }

  #reopen() {
    this.#retry = setTimeout(() => this.open(this.#filter), retryAfter);
  }

  #add(row) {
    if (row.seq <= this.#newest) return;
    this.#newest = row.seq;
    (this.held ? this.pending : this.rows).unshift(row);
    this.#clip();
    this.#changed();
  }

  #clip() {
    for (const list of [this.rows, this.pending]) {
      if (list.length <= maxRows) continue;
      list.length = maxRows;
      this.clipped = true;
    }
  }
}
