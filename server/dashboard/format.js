// Numbers and times as a person reads them, in the page's language.

import { locale, t } from './i18n.js';

const none = '–';
const cache = new Map();

function formatter(kind, options) {
  const key = locale() + JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new kind(locale(), options));
  return cache.get(key);
}

const known = (value) => value !== undefined && value !== null && value !== '';

// visible shows what turns the direction of a text, or has no width, as its code:
// one name must not look like another.
export function visible(text) {
  return text?.replace(/[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`);
}

export function count(n) {
  return known(n) ? formatter(Intl.NumberFormat, {}).format(n) : none;
}

// short gives 12345 as 12.3K.
export function short(n) {
  if (!known(n)) return none;
  if (Math.abs(n) < 10000) return count(Math.round(n * 10) / 10);
  return formatter(Intl.NumberFormat, { notation: 'compact', maximumFractionDigits: 1 }).format(n);
}

// percent takes a share of 1.
export function percent(share) {
  return formatter(Intl.NumberFormat, { style: 'percent', maximumFractionDigits: 1 }).format(share);
}

// millis gives a duration with the precision that a person can use.
export function millis(ms) {
  if (!known(ms)) return none;
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60000)} m ${String(Math.floor(ms / 1000) % 60).padStart(2, '0')} s`;
}

export function bytes(n) {
  if (!known(n)) return none;
  if (n < 1024) return `${n} B`;
  return n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

const dayOptions = { month: '2-digit', day: '2-digit' };
const clockOptions = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };

// clock gives the time of day, with the day in front if it is another one.
export function clock(time) {
  const date = new Date(time);
  const options = date.toDateString() === new Date().toDateString() ? clockOptions : { ...dayOptions, ...clockOptions };
  return formatter(Intl.DateTimeFormat, options).format(date);
}

// minute gives a point of a chart: its day too, if the steps are hours.
export function minute(time, stepSeconds) {
  const { second, ...options } = { ...(stepSeconds >= 3600 ? dayOptions : {}), ...clockOptions };
  return formatter(Intl.DateTimeFormat, options).format(new Date(time));
}

// moment gives date, time and milliseconds.
export function moment(time) {
  return formatter(Intl.DateTimeFormat, {
    year: 'numeric', ...dayOptions, ...clockOptions, fractionalSecondDigits: 3, timeZoneName: 'short',
  }).format(new Date(time));
}

// ago tells how long ago a time was; "in" a time that is to come.
export function ago(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  const [unit, size] = unitOf(Math.abs(seconds));
  if (unit === 'second' && Math.abs(seconds) < 5) return t('time.now');
  return formatter(Intl.RelativeTimeFormat, { numeric: 'always', style: 'short' }).format(Math.round(seconds / size), unit);
}

// span gives a length of time, in its one or two largest units.
export function span(seconds) {
  const d = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const m = Math.floor(seconds / 60) % 60;
  if (d > 0) return t('time.dh', { d, h: hours });
  if (hours > 0) return t('time.hm', { h: hours, m });
  return m > 0 ? t('time.m', { m }) : t('time.s', { s: Math.floor(seconds) });
}

function unitOf(seconds) {
  if (seconds < 60) return ['second', 1];
  if (seconds < 3600) return ['minute', 60];
  return seconds < 86400 ? ['hour', 3600] : ['day', 86400];
}
