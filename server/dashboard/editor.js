// A text area with line numbers, of which some are marked.

import { fill, h } from './dom.js';

const signs = { bad: '✕', warn: '▲' };

// Editor calls changed(text) when its text is edited.
export class Editor {
  element;

  #area;
  #gutter;
  #marks = new Map(); // line → kind
  #lines = 0;

  constructor({ label, changed }) {
    this.#gutter = h('div', { class: 'gutter', 'aria-hidden': 'true' });
    this.#area = h('textarea', {
      'aria-label': label, wrap: 'off', spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off',
      oninput: () => {
        this.#number();
        changed(this.text);
      },
      onscroll: () => this.#follow(),
    });
    this.element = h('div', { class: 'editor' }, this.#gutter, this.#area);
  }

  get text() {
    return this.#area.value;
  }

  set(text, readOnly) {
    this.#area.value = text;
    this.#area.readOnly = readOnly;
    this.#number();
  }

  // mark shows a sign at each of these lines: a map of line to bad or warn.
  mark(marks) {
    this.#marks = marks;
    this.#lines = 0;
    this.#number();
  }

  focus() {
    this.#area.focus();
  }

  // jump selects from a column to the end of its line; both count from 1, a column
  // in characters.
  jump(line, column) {
    const lines = this.text.split('\n');
    const before = lines.slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0);
    const own = lines[line - 1] ?? '';
    const units = [...own].slice(0, column - 1).join('').length;
    this.select(before + units, before + own.length);
  }

  select(start, end) {
    this.#area.focus();
    this.#area.setSelectionRange(start, Math.max(start, end));
    const line = this.text.slice(0, start).split('\n').length - 1;
    const height = this.#area.scrollHeight / this.text.split('\n').length;
    this.#area.scrollTop = Math.max(0, line * height - this.#area.clientHeight / 3);
  }

  #number() {
    const lines = this.text.split('\n').length;
    if (lines !== this.#lines) {
      this.#lines = lines;
      fill(this.#gutter, Array.from({ length: lines }, (_, i) => {
        const kind = this.#marks.get(i + 1);
        return h('div', { class: kind }, kind ? `${signs[kind]} ${i + 1}` : i + 1);
      }));
    }
    this.#follow();
  }

  #follow() {
    this.#gutter.scrollTop = this.#area.scrollTop;
  }
}
