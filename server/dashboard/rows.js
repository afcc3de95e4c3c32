// A table body of which only the rows in view exist. All rows have one height.

import { h } from './dom.js';

const overscan = 10; // rows above and below the view

// VirtualRows fills tbody, which scrolls in scroller.
//   make()          gives an empty row
//   fill(row, item) shows an item in it
//   key(item)       gives what tells items apart
export class VirtualRows {
  #scroller;
  #body;
  #make;
  #fill;
  #key;
  #items = [];
  #shown = new Map(); // key → row
  #free = [];
  #above;
  #below;
  #height = 0;
  #frame = 0;
  #resized;

  constructor({ scroller, body, make, fill, key }) {
    this.#scroller = scroller;
    this.#body = body;
    this.#make = make;
    this.#fill = fill;
    this.#key = key;
    this.#above = this.#spacer();
    this.#below = this.#spacer();
    body.append(this.#above, this.#below);
    scroller.addEventListener('scroll', () => this.#soon(), { passive: true });
    this.#resized = new ResizeObserver(() => {
      this.#height = 0;
      this.#soon();
    });
    this.#resized.observe(scroller);
  }

  close() {
    this.#resized.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  // set shows other items; those of the same key keep their row.
  set(items) {
    this.#items = items;
    this.#render();
  }

  // refill shows every item in view anew.
  refill() {
    for (const item of this.#items) {
      const row = this.#shown.get(this.#key(item));
      if (row) this.#fill(row, item);
    }
  }

  // reveal scrolls as little as it takes to show the item at index, and gives its row.
  reveal(index) {
    const head = this.#body.previousElementSibling?.offsetHeight ?? 0;
    const top = index * this.#height;
    const view = this.#scroller.clientHeight - head;
    const at = this.#scroller.scrollTop;
    if (top < at) this.#scroller.scrollTop = top;
    else if (top + this.#height > at + view) this.#scroller.scrollTop = top + this.#height - view;
    this.#render();
    return this.#shown.get(this.#key(this.#items[index]));
  }

  #spacer() {
    return h('tr', { class: 'spacer', 'aria-hidden': 'true' }, h('td'));
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  #render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#height) this.#measure();
    const visible = Math.ceil(this.#scroller.clientHeight / this.#height);
    const first = Math.max(0, Math.min(Math.floor(this.#scroller.scrollTop / this.#height) - overscan, this.#items.length - visible));
    const items = this.#items.slice(first, first + visible + 2 * overscan);
    const keys = new Set(items.map(this.#key));
    for (const [key, row] of this.#shown) {
      if (keys.has(key)) continue;
      row.remove();
      this.#shown.delete(key);
      this.#free.push(row);
    }
    let next = this.#above.nextSibling;
    items.forEach((item, i) => {
      let row = this.#shown.get(this.#key(item));
      if (!row) {
        row = this.#free.pop() ?? this.#make();
        this.#fill(row, item);
        this.#shown.set(this.#key(item), row);
      }
      row.setAttribute('aria-rowindex', first + i + 2); // the header is the first
      if (row === next) next = next.nextSibling;
      else this.#body.insertBefore(row, next);
    });
    this.#above.firstChild.style.setProperty('height', `${first * this.#height}px`);
    this.#below.firstChild.style.setProperty('height', `${(this.#items.length - first - items.length) * this.#height}px`);
  }

  // measure learns the height of a row from an empty one.
  #measure() {
    const row = this.#make();
    this.#body.insertBefore(row, this.#below);
    this.#height = row.getBoundingClientRect().height || 30;
    row.remove();
  }
}
