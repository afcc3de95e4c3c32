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

export function open(main, params, app) {
  const editor = new Editor({ label: t('settings.text'), changed });
  const where = h('code', { class: 'value' });
  const state = h('p', { class: 'muted', role: 'status' });
  const banner = h('ul', { class: 'alerts' });
  const faults = h('ul', { class: 'faults', 'aria-label': t('settings.faults') });
  const saveButton = h('button', { type: 'button', class: 'primary', onclick: save }, t('settings.save'));
  const undoButton = h('button', { type: 'button', onclick: undo }, t('settings.undo'));
  let checking = 0;
  let faulty = false; // as far as is known
  let closed = false;
  let last = null;

  fill(main, h('div', { class: 'settings' },
    h('div', { class: 'panel-head' }, h('h1', null, t('page.settings')), where, h('div', { class: 'actions' }, undoButton, saveButton)),
    h('p', { class: 'muted' }, t('settings.about')),
    banner, editor.element, state, faults));
  main.addEventListener('keydown', shortcut);
  load();

  async function load() {
    try {
      const file = await api.config();
      if (closed) return;
      if (unsaved()) {
        if (file.etag !== draft.file.etag) notify(t('settings.changedBelow'), 'bad');
      } else {
        Object.assign(draft, { file, text: file.text });
      }
    } catch (e) {
      if (!closed) setText(state, e.status ? e.message : t('unreachable'));
      return;
    }
    const { carried } = draft;
    draft.carried = null;
    const added = carried && addKey(draft.text, carried);
    if (added) draft.text = added;
    editor.set(draft.text, !draft.file.writable);
    changed(draft.text);
    if (added) {
      editor.select(added.indexOf(carried), added.indexOf(carried) + carried.length);
    } else if (params.key) {
      const node = findNamed(draft.text, params.key, 'auth', 'keys');
      if (node) editor.select(node.start, node.end);
    }
  }

  function changed(text) {
    draft.text = text;
    enable();
    clearTimeout(checking);
    checking = setTimeout(check, 400);
  }

  function enable() {
    undoButton.disabled = !unsaved();
    saveButton.disabled = !unsaved() || !draft.file.writable || faulty;
  }

  async function check() {
    const { text } = draft;
    try {
      const found = await api.checkConfig(text);
      if (!closed && text === draft.text) showFaults(found);
    } catch (e) {
      if (!closed) setText(state, e.status ? e.message : t('unreachable'));
    }
  }

  function showFaults({ faults: wrong = [], warnings = [] }) {
    const all = [...wrong.map((f) => ({ ...f, kind: 'bad' })), ...warnings.map((f) => ({ ...f, kind: 'warn' }))];
    editor.mark(new Map(all.toReversed().filter((f) => f.line).map((f) => [f.line, f.kind])));
    faulty = wrong.length > 0;
    enable();
    setText(state, wrong.length ? t('settings.faultCount', { n: wrong.length }) : t(unsaved() ? 'settings.valid' : 'settings.same'));
    fill(faults, all.map((f) => h('li', { class: f.kind },
      h('span', { class: `status ${f.kind}` }, f.kind === 'bad' ? '✕' : '▲', ' ', t(f.kind === 'bad' ? 'settings.fault' : 'settings.warning')),
      f.line && h('button', { type: 'button', class: 'link', onclick: () => editor.jump(f.line, f.column ?? 1) },
        t('settings.at', { line: f.line, column: f.column ?? 1 })),
      f.path && h('code', { class: 'value' }, f.path),
      h('span', { class: 'value' }, f.message))));
  }

  async function save() {
    if (saveButton.disabled) return;
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
      await reread(text);
      showRestart(saved.need_restart ?? []);
      app.refresh();
    } catch (e) {
      refused(e);
    }
  }

  // reread takes the file as it is now: new secrets come back masked.
  async function reread(saved) {
    const file = await api.config().catch(() => null);
    if (!file || draft.text !== saved) return;
    Object.assign(draft, { file, text: file.text });
    if (closed) return;
    if (editor.text !== file.text) editor.set(file.text, !file.writable);
    changed(file.text);
  }

  async function refused(e) {
    if (e.status === 422) {
      showFaults(e.body);
      editor.focus();
    } else if (e.status === 412) {
      const theirs = await confirm({ title: t('settings.conflict'), text: t('settings.conflictText'), action: t('settings.rebase') });
      if (!theirs) return;
      const file = await api.config();
      draft.file = file;
      changed(draft.text);
      save();
    } else {
      notify(e.status ? e.message : t('unreachable'), 'bad');
    }
  }

  async function undo() {
    const yes = await confirm({ title: t('settings.undo'), text: t('settings.undoText'), action: t('settings.undo'), danger: true });
    if (!yes) return;
    draft.file = null;
    load();
  }

  function showRestart(names) {
    fill(banner,
      last?.reload_fault && h('li', { class: 'bad' }, h('span', null, t('trouble.reload', { fault: last.reload_fault }))),
      draft.file && !draft.file.writable && h('li', { class: 'warn' }, h('span', null, t('settings.readOnly'))),
      names.length > 0 && h('li', { class: 'warn' }, h('span', null, t('trouble.restart', { names: names.join(', ') })),
        h('button', { type: 'button', onclick: () => perform('restart', app) }, t('service.restart'))));
  }

  function shortcut(event) {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    save();
  }

  let drawn = '';
  return {
    status(s) {
      if (!s) return;
      last = s;
      const now = JSON.stringify([s.config_path, s.need_restart, s.reload_fault, draft.file?.writable]);
      if (now === drawn) return;
      drawn = now;
      setText(where, s.config_path);
      showRestart(s.need_restart ?? []);
    },
    close() {
      closed = true;
      clearTimeout(checking);
      main.removeEventListener('keydown', shortcut);
    },
    keys: { '/': () => editor.focus() },
  };
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
