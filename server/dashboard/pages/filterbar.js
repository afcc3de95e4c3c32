// What filters the log: a box to type in, and menus to choose from.

import * as api from '../api.js';
import { fill, h, newId } from '../dom.js';
import { parse, print } from '../filter.js';
import { t } from '../i18n.js';

const settleAfter = 300; // milliseconds without a key

// FilterBox calls typed(filter) when its text has settled, and down() for the key
// that leads from it into the log.
export class FilterBox {
  element;

  #box;
  #typed;
  #typing = 0;

  constructor({ typed, down }) {
    this.#typed = typed;
    this.#box = h('input', {
      type: 'search', id: newId(), spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', enterkeyhint: 'search',
      placeholder: t('filter.placeholder'), 'aria-describedby': 'filter-help',
      oninput: () => this.#settle(settleAfter),
      onkeydown(event) {
        if (event.key !== 'ArrowDown') return;
        event.preventDefault();
        down();
      },
    });
    this.element = h('form', { class: 'filter', role: 'search', onsubmit: (event) => this.#submit(event) },
      h('label', { for: this.#box.id, class: 'unseen' }, t('filter.label')), this.#box,
      h('span', { id: 'filter-help', class: 'unseen' }, t('filter.help')));
  }

  show(filter) {
    this.#box.value = print(filter);
  }

  select() {
    this.#box.select();
  }

  close() {
    clearTimeout(this.#typing);
  }

  #submit(event) {
    event.preventDefault();
    this.#settle(0);
  }

  #settle(ms) {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#typed(parse(this.#box.value)), ms);
  }
}

// filterMenus are the choices beside the filter box; choose is called with a name
// and a value, which is empty for any.
export function filterMenus(choose) {
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
