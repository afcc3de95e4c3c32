// Building elements. Whatever is not a node becomes a text node, so no value of a
// log or a config can become markup. Nothing in the dashboard uses innerHTML.

const svgNamespace = 'http://www.w3.org/2000/svg';

// h makes an HTML element. Of props, on… are listeners, booleans are attributes
// that are there or not, null and undefined are left out; the rest are attributes.
// Children may be nodes, texts, lists of those, or null.
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

// svg does the same for an SVG element.
export function svg(tag, props, ...children) {
  return build(document.createElementNS(svgNamespace, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false);
}

// fill replaces what element holds.
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

// setText writes a text only where it differs, which spares layout and selections.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// table makes a table with column headers. A row is a list of cells; its first
// cell is its header. numeric lists the columns that are aligned as numbers.
export function table({ caption, columns, rows, numeric = [] }) {
  const align = (i) => (numeric.includes(i) ? 'number' : null);
  return h('table', { class: 'plain' },
    caption && h('caption', { class: 'unseen' }, caption),
    h('thead', null, h('tr', null, columns.map((name, i) => h('th', { scope: 'col', class: align(i) }, name)))),
    h('tbody', null, rows.map((cells) => h('tr', null, cells.map((cell, i) =>
      (i === 0 ? h('th', { scope: 'row' }, cell) : h('td', { class: align(i) }, cell)))))));
}

let lastId = 0;

// newId gives an id that no other element of the page has.
export function newId() {
  lastId += 1;
  return `e${lastId}`;
}
