// The settings: the config file's text, checked while it is written, saved after its
// difference has been seen.

import * as api from '../api.js';
import { confirm, notify, show } from '../dialog.js';
import { diff, hunks } from '../diff.js';
import { fill, h, setText } from '../dom.js';
import { Editor } from '../editor.js';
import { t } from '../i18n.js';
import { addKey, findNamed } from '../jsonc.js';
import { perform } from '../service.js';

// draft is the text that is not saved yet; it stays while other pages are open.
const draft = { file: null, text: null, carried: null };

// unsaved tells whether leaving the dashboard would lose something.
export const unsaved = () => draft.file !== null && draft.text !== draft.file.text;

// carryKey has the next opening of the page add a line to auth.keys.
export function carryKey(entry) {
  draft.carried = entry;
}

export const open = (main, params, app) => new SettingsPage(main, params, app);

class SettingsPage {
  keys = { '/': () => this.#editor.focus() };

  #main;
  #params;
  #app;
  #editor = new Editor({ label: t('settings.text'), changed: (text) => this.#changed(text) });
  #where = h('code', { class: 'value' });
  #state = h('p', { class: 'muted', role: 'status' });
  #banner = h('ul', { class: 'alerts' });
  #faults = h('ul', { class: 'faults', 'aria-label': t('settings.faults') });
  #saveButton = h('button', { type: 'button', class: 'primary', onclick: () => this.#save() }, t('settings.save'));
  #undoButton = h('button', { type: 'button', onclick: () => this.#undo() }, t('settings.undo'));
  #checking = 0;
  #faulty = false; // as far as is known
  #closed = false;
  #last = null; // the gateway's status
  #drawn = ''; // what of it is shown
  #onKey = (event) => this.#shortcut(event);

  constructor(main, params, app) {
    this.#main = main;
    this.#params = params;
    this.#app = app;
    fill(main, h('div', { class: 'settings' },
      h('div', { class: 'panel-head' }, h('h1', null, t('page.settings')), this.#where,
        h('div', { class: 'actions' }, this.#undoButton, this.#saveButton)),
      h('p', { class: 'muted' }, t('settings.about')),
      this.#banner, this.#editor.element, this.#state, this.#faults));
    main.addEventListener('keydown', this.#onKey);
    this.#load();
  }

  status(s) {
    if (!s) return;
    this.#last = s;
    const now = JSON.stringify([s.config_path, s.need_restart, s.reload_fault, draft.file?.writable]);
    if (now === this.#drawn) return;
    this.#drawn = now;
    setText(this.#where, s.config_path);
    this.#showRestart(s.need_restart ?? []);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#checking);
    this.#main.removeEventListener('keydown', this.#onKey);
  }

  async #load() {
    try {
      const file = await api.config();
      if (this.#closed) return;
      if (unsaved()) {
        if (file.etag !== draft.file.etag) notify(t('settings.changedBelow'), 'bad');
      } else {
        Object.assign(draft, { file, text: file.text });
      }
    } catch (e) {
      if (!this.#closed) setText(this.#state, e.status ? e.message : t('unreachable'));
      return;
    }
    const { carried } = draft;
    draft.carried = null;
    const added = carried && addKey(draft.text, carried);
    if (added) draft.text = added;
    this.#editor.set(draft.text, !draft.file.writable);
    this.#changed(draft.text);
    if (added) {
      this.#editor.select(added.indexOf(carried), added.indexOf(carried) + carried.length);
    } else if (this.#params.key) {
      const node = findNamed(draft.text, this.#params.key, 'auth', 'keys');
      if (node) this.#editor.select(node.start, node.end);
    }
  }

  #changed(text) {
    draft.text = text;
    this.#enable();
    clearTimeout(this.#checking);
    this.#checking = setTimeout(() => this.#check(), 400);
  }

  #enable() {
    this.#undoButton.disabled = !unsaved();
    this.#saveButton.disabled = !unsaved() || !draft.file.writable || this.#faulty;
  }

  async #check() {
    const { text } = draft;
    try {
      const found = await api.checkConfig(text);
      if (!this.#closed && text === draft.text) this.#showFaults(found);
    } catch (e) {
      if (!this.#closed) setText(this.#state, e.status ? e.message : t('unreachable'));
    }
  }

  #showFaults({ faults: wrong = [], warnings = [] }) {
    const all = [...wrong.map((f) => ({ ...f, kind: 'bad' })), ...warnings.map((f) => ({ ...f, kind: 'warn' }))];
    this.#editor.mark(new Map(all.toReversed().filter((f) => f.line).map((f) => [f.line, f.kind])));
    this.#faulty = wrong.length > 0;
    this.#enable();
    setText(this.#state, wrong.length ? t('settings.faultCount', { n: wrong.length }) : t(unsaved() ? 'settings.valid' : 'settings.same'));
    fill(this.#faults, all.map((f) => faultItem(f, () => this.#editor.jump(f.line, f.column ?? 1))));
  }

  async #save() {
    if (this.#saveButton.disabled) return;
    const yes = await show({
      title: t('settings.diff'),
      body: diffTable(draft.file.text, draft.text),
      actions: [{ label: t('settings.saveReload'), value: true, kind: 'primary' }],
      wide: true,
    });
    if (!yes) return;
    const { text } = draft;
    try {
      const saved = await api.saveConfig(text, draft.file.etag);
      notify(t('settings.saved'));
      draft.file = { ...draft.file, text, etag: saved.etag };
      await this.#reread(text);
      this.#showRestart(saved.need_restart ?? []);
      this.#app.refresh();
    } catch (e) {
      this.#refused(e);
    }
  }

  // reread takes the file as it is now: new secrets come back masked.
  async #reread(saved) {
    const file = await api.config().catch(() => null);
    if (!file || draft.text !== saved) return;
    Object.assign(draft, { file, text: file.text });
    if (this.#closed) return;
    if (this.#editor.text !== file.text) this.#editor.set(file.text, !file.writable);
    this.#changed(file.text);
  }

  async #refused(e) {
    if (e.status === 422) {
      this.#showFaults(e.body);
      this.#editor.focus();
    } else if (e.status === 412) {
      const theirs = await confirm({ title: t('settings.conflict'), text: t('settings.conflictText'), action: t('settings.rebase') });
      if (!theirs) return;
      const file = await api.config();
      draft.file = file;
      this.#changed(draft.text);
      this.#save();
    } else {
      notify(e.status ? e.message : t('unreachable'), 'bad');
    }
  }

  async #undo() {
    const yes = await confirm({ title: t('settings.undo'), text: t('settings.undoText'), action: t('settings.undo'), danger: true });
    if (!yes) return;
    draft.file = null;
    this.#load();
  }

  #showRestart(names) {
    fill(this.#banner,
      this.#last?.reload_fault && h('li', { class: 'bad' }, h('span', null, t('trouble.reload', { fault: this.#last.reload_fault }))),
      draft.file && !draft.file.writable && h('li', { class: 'warn' }, h('span', null, t('settings.readOnly'))),
      names.length > 0 && h('li', { class: 'warn' }, h('span', null, t('trouble.restart', { names: names.join(', ') })),
        h('button', { type: 'button', onclick: () => perform('restart', this.#app) }, t('service.restart'))));
  }

  #shortcut(event) {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.#save();
  }
}

// faultItem shows a fault or a warning; jump goes to where it is.
function faultItem(f, jump) {
  const bad = f.kind === 'bad';
  return h('li', { class: f.kind },
    h('span', { class: `status ${f.kind}` }, bad ? '✕' : '▲', ' ', t(bad ? 'settings.fault' : 'settings.warning')),
    f.line && h('button', { type: 'button', class: 'link', onclick: jump }, t('settings.at', { line: f.line, column: f.column ?? 1 })),
    f.path && h('code', { class: 'value' }, f.path),
    h('span', { class: 'value' }, f.message));
}

function diffTable(before, after) {
  const sign = { same: ' ', out: '−', in: '+' };
  const words = { out: t('settings.removed'), in: t('settings.added') };
  return h('div', { class: 'scroll', role: 'group', tabindex: '0', 'aria-label': t('settings.diff') },
    h('table', { class: 'diff' },
      h('thead', { class: 'unseen' }, h('tr', null, ['before', 'after', 'change', 'line'].map((c) => h('th', { scope: 'col' }, t(`diff.${c}`))))),
      h('tbody', null, hunks(diff(before, after)).map((line) => (line === null
        ? h('tr', { class: 'skip-lines' }, h('td', { colspan: 4 }, '⋯'))
        : h('tr', { class: line.kind },
          h('td', { class: 'number' }, line.old ?? ''),
          h('td', { class: 'number' }, line.new ?? ''),
          h('td', null, sign[line.kind], words[line.kind] && h('span', { class: 'unseen' }, words[line.kind])),
          h('td', null, h('code', null, line.text))))))));
}
