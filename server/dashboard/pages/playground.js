// The playground: one prompt, its answer as it comes, and how fast it came.

import * as api from '../api.js';
import { copyButton } from '../dialog.js';
import { fill, h, newId, setText } from '../dom.js';
import { count, millis } from '../format.js';
import { t } from '../i18n.js';
import { link } from '../route.js';
import { events } from '../sse.js';

const maxEvents = 2000; // raw events that are shown

// What was written stays while the dashboard is open.
const form = { model: '', dialect: 'openai', prompt: '', limit: '1024' };

// The dialects: how each is asked, and what of an event is text, usage or a fault.
const dialects = {
  openai: {
    path: '/v1/chat/completions',
    headers: {},
    body: ({ model, prompt, limit }) => ({
      model, messages: [{ role: 'user', content: prompt }], stream: true, stream_options: { include_usage: true },
      ...(limit ? { max_completion_tokens: limit } : {}),
    }),
    read: (event) => ({
      text: event.choices?.[0]?.delta?.content,
      thought: event.choices?.[0]?.delta?.reasoning_content ?? event.choices?.[0]?.delta?.reasoning,
      end: event.choices?.[0]?.finish_reason,
      input: event.usage?.prompt_tokens,
      output: event.usage?.completion_tokens,
      fault: event.error?.message,
    }),
  },
  anthropic: {
    path: '/v1/messages',
    headers: { 'anthropic-version': '2023-06-01' },
    body: ({ model, prompt, limit }) => ({ model, max_tokens: limit || 1024, messages: [{ role: 'user', content: prompt }], stream: true }),
    read: (event) => ({
      text: event.delta?.text,
      thought: event.delta?.thinking,
      end: event.delta?.stop_reason,
      input: (event.message ?? event).usage?.input_tokens,
      output: (event.message ?? event).usage?.output_tokens,
      fault: event.error?.message,
    }),
  },
};

export function open(main, params) {
  form.model = params.model ?? form.model;
  form.prompt ||= t('play.hello');
  const names = h('datalist', { id: newId() });
  const model = h('input', { id: newId(), list: names.id, required: true, autocomplete: 'off', spellcheck: 'false', value: form.model, oninput: () => { form.model = model.value; } });
  const limit = h('input', { id: newId(), type: 'number', min: 1, value: form.limit, oninput: () => { form.limit = limit.value; } });
  const prompt = h('textarea', { id: newId(), rows: 6, required: true, oninput: () => { form.prompt = prompt.value; } }, form.prompt);
  const group = newId();
  const dialect = ['openai', 'anthropic'].map((name) => h('label', { class: 'check' },
    h('input', { type: 'radio', name: group, value: name, checked: form.dialect === name, onchange: () => { form.dialect = name; } }),
    t(`play.${name}`)));
  const send = h('button', { type: 'submit', class: 'primary' }, t('play.send'));
  const stop = h('button', { type: 'button', disabled: true, onclick: () => abort?.abort() }, t('play.stop'));
  const answer = new Answer();
  let abort = null;

  fill(main, h('h1', { class: 'unseen' }, t('page.playground')),
    h('div', { class: 'playground' },
      h('form', { class: 'panel', onsubmit: run, onkeydown: sendKey },
        h('label', { for: model.id }, t('model')), model, names,
        h('fieldset', null, h('legend', null, t('play.dialect')), dialect),
        h('label', { for: limit.id }, t('play.limit')), limit,
        h('label', { for: prompt.id }, t('play.prompt')), prompt,
        h('div', { class: 'actions' }, send, stop),
        h('p', { class: 'muted' }, t('play.cost'))),
      answer.element));

  api.models().then((list) => {
    fill(names, list.map((name) => h('option', { value: name })));
    if (!model.value && list[0]) model.value = form.model = list[0];
  }).catch(() => {}); // a name can be typed

  function sendKey(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  }

  async function run(event) {
    event.preventDefault();
    if (abort) return;
    abort = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    const wire = dialects[form.dialect];
    answer.begin();
    try {
      const body = wire.body({ model: form.model, prompt: form.prompt, limit: Number(form.limit) });
      const response = await api.stream(wire.path, body, abort.signal, wire.headers);
      answer.head(response);
      for await (const e of events(response)) answer.event(e, wire.read);
      answer.end();
    } catch (e) {
      if (e.name === 'AbortError') answer.end(t('play.stopped'));
      else answer.end(null, e instanceof api.ApiError && e.status ? `${e.status}: ${e.message}` : t('play.broken'), e.body);
    }
    abort = null;
    send.disabled = false;
    stop.disabled = true;
  }

  return {
    status() {},
    close() {
      abort?.abort();
      answer.close();
    },
    keys: { '/': () => prompt.focus(), Escape: () => abort?.abort() },
  };
}

// Answer shows an answer: text, raw events and numbers. What arrives between two
// frames is drawn at once.
class Answer {
  element;

  #text = h('pre', { class: 'answer', tabindex: '0', role: 'group', 'aria-label': t('play.text') });
  #thought = h('pre', { class: 'answer thought', tabindex: '0', role: 'group', 'aria-label': t('play.thought') });
  #thoughts = h('details', { hidden: true }, h('summary', null, t('play.thought')), this.#thought);
  #raw = h('ol', { class: 'raw', tabindex: '0', 'aria-label': t('play.raw') });
  #fault = h('p', { class: 'fault', role: 'alert' });
  #state = h('p', { class: 'muted', role: 'status' });
  #numbers = Object.fromEntries(['ttft', 'speed', 'input', 'output', 'total'].map((name) => [name, h('dd', null, '–')]));
  #record = h('p');
  #now = null; // the answer that is under way, or the last
  #frame = 0;

  constructor() {
    this.element = h('section', { class: 'panel', 'aria-labelledby': 'answer-title' },
      h('div', { class: 'panel-head' }, h('h2', { id: 'answer-title' }, t('play.answer')), copyButton(() => this.#text.textContent)),
      h('dl', { class: 'numbers' }, Object.entries(this.#numbers).map(([name, value]) => h('div', null, h('dt', null, t(`play.${name}`)), value))),
      this.#state, this.#fault, this.#thoughts, this.#text, this.#record,
      h('details', null, h('summary', null, t('play.raw')), this.#raw));
  }

  begin() {
    this.#now = { start: performance.now(), first: null, last: null, ended: null, count: 0, text: [], thought: [], raw: [], finish: null };
    for (const part of [this.#text, this.#thought, this.#raw, this.#fault, this.#record]) fill(part);
    this.#thoughts.hidden = true;
    setText(this.#state, t('play.waiting'));
    this.#draw();
  }

  head(response) {
    const id = response.headers.get('x-request-id') ?? response.headers.get('request-id');
    if (id) fill(this.#record, h('a', { href: link('requests', { row: id }) }, t('play.record')));
    setText(this.#state, t('play.streaming'));
  }

  // event takes one event of the stream; read is its dialect's.
  event({ event, data }, read) {
    const now = this.#now;
    const at = performance.now();
    now.count += 1;
    if (now.count <= maxEvents) {
      now.raw.push(h('li', null, h('span', { class: 'muted' }, `+${millis(at - now.start)} `), h('code', null, event ? `${event} ${data}` : data)));
    } else if (now.count === maxEvents + 1) {
      now.raw.push(h('li', { class: 'muted' }, t('play.moreEvents')));
    }
    const seen = data === '[DONE]' ? {} : read(parsed(data));
    if (seen.text || seen.thought) {
      now.first ??= at;
      now.last = at;
    }
    if (seen.text) now.text.push(seen.text);
    if (seen.thought) {
      now.thought.push(seen.thought);
      this.#thoughts.hidden = false;
    }
    now.input = seen.input ?? now.input;
    now.output = seen.output ?? now.output;
    now.finish = seen.end ?? now.finish;
    if (seen.fault) setText(this.#fault, seen.fault);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  // end closes the answer: stopped by the person, failed, or done.
  end(stopped, failed, body) {
    const now = this.#now;
    now.ended = performance.now();
    if (failed) setText(this.#fault, failed);
    if (body?.error) now.raw.push(h('li', null, h('code', null, JSON.stringify(body))));
    setText(this.#state, stopped ?? (failed ? t('play.failed') : t('play.done', { reason: now.finish ?? t('play.noReason') })));
    this.#draw();
  }

  close() {
    cancelAnimationFrame(this.#frame);
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const now = this.#now;
    this.#text.append(now.text.splice(0).join(''));
    this.#thought.append(now.thought.splice(0).join(''));
    this.#raw.append(...now.raw.splice(0));
    const until = now.ended ?? performance.now();
    const numbers = this.#numbers;
    setText(numbers.ttft, millis(now.first && now.first - now.start));
    setText(numbers.total, millis(until - now.start));
    setText(numbers.input, count(now.input));
    setText(numbers.output, count(now.output));
    const seconds = (now.last - now.first) / 1000; // too few cannot be told from the network's own
    setText(numbers.speed, now.output > 1 && seconds > 0.05 ? t('play.perSecond', { n: count(Math.round(((now.output - 1) / seconds) * 10) / 10) }) : '–');
  }
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}
