// Questions, and things to show, in front of the page.

import { fill, h, newId } from './dom.js';
import { t } from './i18n.js';

// show opens a modal dialog and gives a promise of the value of the chosen action,
// or of null when it is closed. actions are {label, value, kind}; kind is primary or
// danger. body is a node, a text, or a list. Pressing Enter chooses nothing by itself.
export function show({ title, body, actions = [], wide = false }) {
  return new Promise((resolve) => {
    const id = newId();
    const buttons = actions.map(({ label, value, kind }) =>
      h('button', { type: 'button', class: kind, onclick: () => dialog.end(value) }, label));
    const dialog = h('dialog', { 'aria-labelledby': id, class: wide ? 'wide' : null },
      h('h2', { id, tabindex: '-1' }, title),
      h('div', { class: 'dialog-body' }, ...[body].flat()),
      h('div', { class: 'actions' },
        buttons,
        h('button', { type: 'button', onclick: () => dialog.end(null) }, actions.length ? t('cancel') : t('close'))));
    dialog.end = (value) => {
      dialog.returned = value;
      dialog.close();
    };
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returned ?? null);
    });
    document.body.append(dialog);
    dialog.showModal();
    const field = dialog.querySelector('input:not([type=checkbox]), textarea');
    (field ?? dialog.querySelector('h2')).focus();
  });
}

// confirm asks whether to do something.
export async function confirm({ title, text, action, danger = false }) {
  const actions = [{ label: action, value: true, kind: danger ? 'danger' : 'primary' }];
  return (await show({ title, body: h('p', null, text), actions })) === true;
}

// notify tells in passing; what a screen reader says, too.
export function notify(text, kind = 'good') {
  const notice = h('p', { class: `notice ${kind}` }, text);
  const place = document.getElementById('notices');
  place.append(notice);
  setTimeout(() => notice.remove(), kind === 'bad' ? 10000 : 4000);
}

// copy puts a text on the clipboard, also where a page without TLS may not use the
// clipboard interface.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h('textarea', { class: 'unseen', 'aria-hidden': 'true' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}

// copyButton copies what text() gives, and says so.
export function copyButton(text, label = t('copy'), what = label) {
  const button = h('button', {
    type: 'button',
    class: 'small',
    'aria-label': what,
    async onclick() {
      await copy(text());
      fill(button, t('copied'));
      notify(t('copied'));
      setTimeout(() => fill(button, label), 1500);
    },
  }, label);
  return button;
}
