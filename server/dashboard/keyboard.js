// Single keys that move about the page: / j k Enter Esc 1–6 ?. They can be turned
// off, for those whose speech input or reader types letters (WCAG 2.1.4).

import { show } from './dialog.js';
import { h } from './dom.js';
import { t } from './i18n.js';
import { recall, remember } from './memory.js';
import { go, pages } from './route.js';

let on = recall('shortcuts') !== 'off';

const isField = (e) => e.closest('textarea, select, input:not([type=checkbox], [type=radio])') !== null;

// listen serves the keys; page() gives the page in view, whose keys are functions by
// the name of the key.
export function listen(page) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector('dialog[open]')) return;
    const act = action(event, page());
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function action(event, page) {
  const { key, target } = event;
  if (key === 'Escape') return isField(target) ? () => target.blur() : page?.keys?.Escape;
  if (!on || !page || isField(target)) return null;
  if (key === 'Enter') return target.closest('a, button, summary') ? null : page.keys?.Enter;
  if (key === '?') return help;
  if (pages[key - 1]) return () => go(pages[key - 1]);
  return page.keys?.[key];
}

// help shows the keys.
export function help() {
  const keys = [['/', 'help.filter'], ['j  k', 'help.move'], ['Enter', 'help.open'], ['Esc', 'help.close'], ['1 – 6', 'help.pages'],
    ['p', 'help.pause'], ['Ctrl S', 'help.save'], ['?', 'help.help']];
  const toggle = h('input', {
    type: 'checkbox',
    checked: on,
    onchange() {
      on = toggle.checked;
      remember('shortcuts', on ? 'on' : 'off');
    },
  });
  return show({
    title: t('help.title'),
    body: [
      h('dl', { class: 'keys' }, keys.map(([key, words]) => [
        h('dt', null, key.split(/ {2}/).map((k, i) => [i > 0 && ' ', h('kbd', null, k)])),
        h('dd', null, t(words))])),
      h('label', { class: 'check' }, toggle, t('help.on')),
    ],
  });
}
