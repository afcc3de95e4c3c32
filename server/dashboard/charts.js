// Charts over time, drawn as SVG, each with a table of the same numbers.

import { fill, h, newId, svg, table } from './dom.js';
import { minute } from './format.js';
import { t } from './i18n.js';

const height = 120;
const margin = { left: 44, right: 6, top: 8, bottom: 18 };

// Chart shows series over the steps of one window.
//   title   names it
//   series  [{name, kind: 'bar' | 'line', value(point)}]: bars are stacked, a value
//           of null leaves a gap; tone: first, second or bad, is its colour
//   format  writes a value
export class Chart {
  element;

  #spec;
  #points = [];
  #stepSeconds = 60;
  #plot = h('div', { class: 'plot' });
  #headline = h('span', { class: 'headline' });
  #twin = h('div', { class: 'scroll' });
  #summary = '';

  constructor(spec) {
    this.#spec = spec;
    const twin = h('details', null, h('summary', null, t('chart.table')), this.#twin);
    twin.addEventListener('toggle', () => this.#drawTwin(twin.open));
    this.#twin.setAttribute('tabindex', '0');
    this.#twin.setAttribute('role', 'group');
    this.#twin.setAttribute('aria-label', spec.title);
    this.element = h('figure', { class: 'chart' },
      h('figcaption', null, h('h3', null, spec.title), this.#headline),
      this.#plot,
      spec.series.length > 1 && h('ul', { class: 'legend' }, spec.series.map((s) =>
        h('li', null, svg('svg', { class: 'key', viewBox: '0 0 18 8', 'aria-hidden': 'true' }, s.kind === 'bar'
          ? svg('rect', { class: `fill ${s.tone}`, width: 18, height: 8, rx: 1 })
          : svg('path', { class: `stroke ${s.tone}`, d: 'M0 4H18' })), s.name))),
      twin);
    this.#plot.addEventListener('pointermove', (e) => this.#point(e));
    this.#plot.addEventListener('pointerleave', () => this.#point(null));
    new ResizeObserver(() => this.#draw()).observe(this.#plot);
  }

  // update shows other points, one per step, oldest first; summary is what the
  // whole window comes to.
  update(points, stepSeconds, summary) {
    this.#points = points;
    this.#stepSeconds = stepSeconds;
    this.#summary = summary;
    fill(this.#headline, summary);
    this.#draw();
    this.#drawTwin(this.element.querySelector('details').open);
  }

  #drawTwin(open) {
    if (!open) return;
    const { series, format } = this.#spec;
    fill(this.#twin, table({
      caption: this.#spec.title,
      columns: [t('chart.time'), ...series.map((s) => s.name)],
      numeric: series.map((_, i) => i + 1),
      rows: this.#points.toReversed().map((p) => [minute(p.time, this.#stepSeconds), ...series.map((s) => format(s.value(p)))]),
    }));
  }

  // x gives the left edge of step i.
  #x(i, width) {
    return margin.left + (i * (width - margin.left - margin.right)) / Math.max(1, this.#points.length);
  }

  #draw() {
    const width = this.#plot.clientWidth;
    if (!width || !this.#points.length) return;
    const { series, format, title } = this.#spec;
    const top = ceiling(Math.max(...this.#points.map((p) => this.#peak(p))));
    const y = (v) => height - margin.bottom - (v / top) * (height - margin.top - margin.bottom);
    const id = newId();
    const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-labelledby': id },
      svg('title', { id }, `${title}: ${this.#summary}`),
      [0, top / 2, top].map((v) => [
        svg('line', { class: v ? 'grid' : 'axis', x1: margin.left, x2: width - margin.right, y1: y(v), y2: y(v) }),
        svg('text', { x: margin.left - 6, y: y(v) + 3.5, 'text-anchor': 'end' }, format(v)),
      ]),
      this.#times(width),
      this.#bars(series, width, y),
      series.map((s) => s.kind === 'line' && this.#line(s, width, y)),
      svg('line', { class: 'cursor', y1: margin.top, y2: height - margin.bottom, visibility: 'hidden' }));
    fill(this.#plot, picture);
  }

  // peak is the height that a point needs: its bars stacked, or its highest line.
  #peak(point) {
    let bars = 0;
    let line = 0;
    for (const s of this.#spec.series) {
      const v = s.value(point) ?? 0;
      if (s.kind === 'bar') bars += v;
      else line = Math.max(line, v);
    }
    return Math.max(bars, line);
  }

  #times(width) {
    const n = this.#points.length;
    return [[0, 'start'], [Math.floor(n / 2), 'middle'], [n - 1, 'end']].map(([i, anchor]) =>
      svg('text', { x: anchor === 'end' ? width - margin.right : this.#x(i, width), y: height - 4, 'text-anchor': anchor },
        minute(this.#points[i].time, this.#stepSeconds)));
  }

  #bars(series, width, y) {
    const wide = Math.max(1, this.#x(1, width) - this.#x(0, width) - 1);
    return this.#points.map((p, at) => {
      let below = 0;
      return series.map((s) => {
        const v = s.kind === 'bar' ? s.value(p) ?? 0 : 0;
        if (v <= 0) return null;
        const bar = svg('rect', { class: `fill ${s.tone}`, x: this.#x(at, width), width: wide, y: y(below + v), height: Math.max(1, y(below) - y(below + v)) });
        below += v;
        return bar;
      });
    });
  }

  #line(s, width, y) {
    const half = (this.#x(1, width) - this.#x(0, width)) / 2;
    let d = '';
    let pen = false;
    const alone = [];
    this.#points.forEach((p, at) => {
      const v = s.value(p);
      if (v === null) {
        pen = false;
        return;
      }
      const [px, py] = [this.#x(at, width) + half, y(v)];
      d += `${pen ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`;
      const next = this.#points[at + 1];
      if (!pen && (!next || s.value(next) === null)) alone.push(svg('circle', { class: `fill ${s.tone}`, cx: px, cy: py, r: 2 }));
      pen = true;
    });
    return [svg('path', { class: `stroke ${s.tone}`, d: d || 'M0 0' }), alone];
  }

  // point shows the numbers of the step under the pointer.
  #point(event) {
    const cursor = this.#plot.querySelector('.cursor');
    if (!cursor) return;
    if (!event) {
      cursor.setAttribute('visibility', 'hidden');
      fill(this.#headline, this.#summary);
      return;
    }
    const width = this.#plot.clientWidth;
    const left = event.clientX - this.#plot.getBoundingClientRect().left;
    const step = this.#x(1, width) - this.#x(0, width);
    const at = Math.max(0, Math.min(this.#points.length - 1, Math.floor((left - margin.left) / step)));
    const x = this.#x(at, width) + step / 2;
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
    cursor.setAttribute('visibility', 'visible');
    const p = this.#points[at];
    const { series, format } = this.#spec;
    fill(this.#headline, [minute(p.time, this.#stepSeconds),
      ...series.map((s) => `${series.length > 1 ? `${s.name} ` : ''}${format(s.value(p))}`)].join(' · '));
  }
}

// ceiling gives the next of 1, 2, 5, 10, 20, … that is not below v.
function ceiling(v) {
  if (!(v > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].find((n) => n * power >= v * 0.999999) * power;
}

// everyStep gives a point for each step of a window, those without records too.
// stats is an answer of GET /_stats.
export function everyStep(stats, empty) {
  const step = stats.step_seconds * 1000;
  const points = new Map((stats.series ?? []).map((p) => [Date.parse(p.time), p]));
  const all = [];
  for (let time = Math.floor(Date.parse(stats.since) / step) * step; time < Date.parse(stats.until); time += step) {
    all.push(points.get(time) ?? { ...empty, time });
  }
  return all;
}
