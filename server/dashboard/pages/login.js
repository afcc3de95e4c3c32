// The login: an admin key becomes a session. The key is not kept in the page.

import * as api from '../api.js';
import { fill, h, newId } from '../dom.js';
import { t } from '../i18n.js';

// open asks for a key and calls done when it was accepted.
export function open(main, done) {
  const [id, faultId] = [newId(), newId()];
  const field = h('input', { id, type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', 'aria-describedby': faultId });
  const fault = h('p', { id: faultId, class: 'fault', role: 'alert' });
  const button = h('button', { type: 'submit', class: 'primary' }, t('login.enter'));

  async function enter(event) {
    event.preventDefault();
    button.disabled = true;
    fill(fault);
    try {
      await api.login(field.value.trim());
      field.value = '';
      done();
    } catch (e) {
      fill(fault, e.status === 401 || e.body.error?.code === 'admin_only' ? t('login.wrong') : e.message);
      field.select();
    }
    button.disabled = false;
  }

  fill(main, h('form', { class: 'panel login', onsubmit: enter },
    h('h1', null, t('login.title')),
    h('label', { for: id }, t('login.key')),
    field,
    fault,
    button,
    h('p', { class: 'muted' }, t('login.where'))));
  field.focus();
}
