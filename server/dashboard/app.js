// The dashboard: login, the bar at the top, and the page that the address names.

import * as api from './api.js';
import { fill, h, setText } from './dom.js';
import { t, toggleLanguage, translate } from './i18n.js';
import * as keyboard from './keyboard.js';
import { recall, remember } from './memory.js';
import * as keys from './pages/keys.js';
import * as login from './pages/login.js';
import * as overview from './pages/overview.js';
import * as playground from './pages/playground.js';
import * as providers from './pages/providers.js';
import * as requests from './pages/requests.js';
import * as settings from './pages/settings.js';
import { every } from './poll.js';
import { current, link, pages } from './route.js';

// A page has open(main, params, app), which gives
//   status(status, fault)  the gateway's status, or null and why there is none
//   change(params)         other parameters; without it the page is opened anew
//   close()                the end
//   keys                   functions by the key that calls them
const modules = { overview, requests, keys, providers, settings, playground };
const themes = { auto: '◐', light: '☼', dark: '☾' };

const byId = (id) => document.getElementById(id);
const main = byId('main');

let signedIn = null; // the answer of GET /_ui/session, once no login is needed
let asking = false; // for a login
let shown = null; // the page in view: {name, page}
let status = null;
let fault = '';
let poll = null;
let theme = Object.hasOwn(themes, recall('theme') ?? '') ? recall('theme') : 'auto';

const app = { refresh: () => poll?.now() };

async function begin() {
  asking = false;
  drawShell();
  try {
    const session = await api.session();
    if (session.login) askLogin();
    else enter(session);
  } catch {
    fill(main, h('div', { class: 'panel login' }, h('h1', null, t('state.unreachable')), h('p', null, t('unreachable'))));
    setTimeout(begin, 3000);
  }
}

function enter(session) {
  signedIn = session;
  drawShell();
  showPage();
  poll = every(2000, refresh);
}

function askLogin() {
  if (asking) return; // several calls may find out at the same time
  asking = true;
  leave();
  drawShell();
  login.open(main, begin);
}

// leave ends what a session has begun.
function leave() {
  signedIn = null;
  status = null;
  poll?.stop();
  poll = null;
  closePage();
}

async function refresh() {
  try {
    status = await api.status();
    fault = '';
  } catch (e) {
    if (e.status === 401) return;
    status = null;
    fault = e.status ? e.message : t('unreachable');
  }
  drawState();
  shown?.page.status(status, fault);
}

function closePage() {
  shown?.page.close();
  shown = null;
}

// showPage shows what the address names.
function showPage() {
  if (!signedIn) return;
  const { page: name, params } = current();
  if (shown?.name === name && shown.page.change) {
    shown.page.change(params);
    return;
  }
  const moved = shown !== null && shown.name !== name;
  closePage();
  main.className = `page-${name}`;
  shown = { name, page: modules[name].open(main, params, app) };
  if (status || fault) shown.page.status(status, fault);
  document.title = `${t(`page.${name}`)} · ProxyCast`;
  for (const a of byId('nav').children) {
    if (a.dataset.page === name) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  scrollTo(0, 0);
  if (moved) main.focus({ preventScroll: true });
}

// drawShell draws all that stands around a page, in the present language.
function drawShell() {
  translate(document);
  const name = current().page;
  fill(byId('nav'), pages.map((page, i) => h('a', { href: link(page), 'data-page': page, 'aria-current': page === name ? 'page' : null },
    t(`page.${page}`), h('kbd', { 'aria-hidden': 'true' }, i + 1))));
  for (const id of ['nav', 'state', 'help']) byId(id).hidden = !signedIn;
  byId('logout').hidden = !signedIn || signedIn.name === 'anonymous';
  setText(byId('language'), t('shell.language'));
  byId('language').lang = t('shell.languageTag');
  byId('language').setAttribute('aria-label', t('shell.languageLabel'));
  drawTheme();
  drawState();
}

function drawState() {
  const state = status ? status.state : (fault ? 'unreachable' : '');
  const badge = byId('state');
  badge.className = `badge ${state}`;
  badge.hidden = !signedIn || !state;
  if (state) setText(badge, t(`state.${state}`));
}

function drawTheme() {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const label = t('theme.label', { theme: t(`theme.${theme}`) });
  setText(byId('theme'), themes[theme]);
  byId('theme').setAttribute('aria-label', label);
  byId('theme').title = label;
}

byId('language').addEventListener('click', () => {
  toggleLanguage();
  drawShell();
  if (!signedIn) {
    begin();
    return;
  }
  closePage();
  showPage();
});
byId('theme').addEventListener('click', () => {
  const names = Object.keys(themes);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  remember('theme', theme);
  drawTheme();
});
byId('help').addEventListener('click', keyboard.help);
byId('logout').addEventListener('click', async () => {
  await api.logout().catch(() => {}); // without an answer there is no session either
  leave();
  begin();
});
byId('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash is the page's address
  main.focus();
});
addEventListener('hashchange', showPage);
addEventListener('beforeunload', (event) => {
  if (settings.unsaved()) event.preventDefault();
});
api.onLogin(askLogin);
keyboard.listen(() => shown?.page);
begin();
