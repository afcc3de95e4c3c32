// The page's language: 中文 or English, by the browser's choice until one is made.

import { words } from './words.js';
import { recall, remember } from './memory.js';

const languages = ['en', 'zh'];
const tags = { en: 'en', zh: 'zh-CN' };

const chosen = recall('language');
let language = languages.includes(chosen) ? chosen : (/^zh\b/i.test(navigator.language) ? 'zh' : 'en');
document.documentElement.lang = tags[language];

export const locale = () => tags[language];

// toggleLanguage changes the language and remembers it; the caller draws anew.
export function toggleLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  remember('language', language);
  document.documentElement.lang = tags[language];
}

// t gives the text of a key. {name} is replaced by values.name; of a list of two
// texts the first is for values.n = 1.
export function t(key, values = {}) {
  let text = words[key]?.[languages.indexOf(language)];
  if (text === undefined) throw new Error(`no words for ${key}`);
  if (Array.isArray(text)) text = text[values.n === 1 ? 0 : 1];
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// has tells whether a key has words; used for codes that a server may add to.
export const has = (key) => key in words;

// translate gives every marked element below root its text and label.
export function translate(root) {
  for (const e of root.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll('[data-t-label]')) e.setAttribute('aria-label', t(e.dataset.tLabel));
}
