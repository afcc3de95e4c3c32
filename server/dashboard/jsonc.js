// Where things stand in a config text: JSON with comments and trailing commas. It
// reads what it can and judges nothing; faults are the gateway's to find.

// parse gives the text's value as a node {kind, start, end, …}: an object has
// members [{name, value}], an array items, a string its text. null: no value.
export function parse(text) {
  return new Reader(text).value();
}

class Reader {
  at = 0;

  constructor(text) {
    this.text = text;
  }

  // blank passes over white space, comments and commas.
  blank() {
    const space = /(?:[\s,:\uFEFF]+|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$))*/y;
    space.lastIndex = this.at;
    space.test(this.text);
    this.at = space.lastIndex;
  }

  value() {
    this.blank();
    const start = this.at;
    const kind = { '{': 'object', '[': 'array', '"': 'string' }[this.text[start]] ?? 'other';
    const node = { kind, start };
    if (kind === 'object') node.members = this.list('}', () => this.member());
    else if (kind === 'array') node.items = this.list(']', () => this.value());
    else if (kind === 'string') node.text = this.string();
    else this.other();
    node.end = this.at;
    return node.end > start ? node : null;
  }

  list(close, read) {
    const found = [];
    this.at += 1;
    for (;;) {
      this.blank();
      if (this.at >= this.text.length) return found;
      if (this.text[this.at] === close) {
        this.at += 1;
        return found;
      }
      const before = this.at;
      const one = read();
      if (one) found.push(one);
      if (this.at === before) this.at += 1; // a stray character
    }
  }

  member() {
    const name = this.value();
    const value = this.value();
    return name && value ? { name: name.text ?? '', value } : null;
  }

  string() {
    const quoted = /"(?:[^"\\\n]|\\.)*"?/y;
    quoted.lastIndex = this.at;
    const [token] = quoted.exec(this.text);
    this.at += token.length;
    try {
      return JSON.parse(token);
    } catch {
      return token;
    }
  }

  other() {
    const word = /[^\s,:{}[\]"/]*/y;
    word.lastIndex = this.at;
    word.test(this.text);
    this.at = word.lastIndex;
  }
}

const member = (node, name) => node?.members?.find((m) => m.name === name)?.value;

// find gives the node at a path of member names.
export function find(text, ...path) {
  return path.reduce(member, parse(text));
}

// findNamed gives the object with this "name" in the array at a path.
export function findNamed(text, name, ...path) {
  return find(text, ...path)?.items?.find((item) => member(item, 'name')?.text === name);
}

// addKey gives the text with an entry added to auth.keys, or null if it is no object.
export function addKey(text, entry) {
  const root = parse(text);
  if (root?.kind !== 'object') return null;
  const auth = member(root, 'auth');
  const keys = member(auth, 'keys');
  if (keys?.kind === 'array') return append(text, keys, keys.items, entry);
  if (auth?.kind === 'object') return append(text, auth, auth.members.map((m) => m.value), `"keys": [${entry}]`);
  return append(text, root, root.members.map((m) => m.value), `"auth": {"keys": [${entry}]}`);
}

// append adds an element after the last one of an object or array, on a line of its
// own if the others have theirs, and leaves a comment with the line that it is on.
function append(text, node, elements, added) {
  const last = elements.at(-1);
  if (!last) return `${text.slice(0, node.start + 1)}${added}${text.slice(node.start + 1)}`;
  const comma = /^\s*,/.exec(text.slice(last.end, node.end)); // a trailing one
  const at = comma ? last.end + comma[0].length : last.end;
  const lineStart = text.lastIndexOf('\n', last.start) + 1;
  const indent = /^\s*/.exec(text.slice(lineStart, last.start))[0];
  const apart = text.slice(node.start, last.start).includes('\n');
  const remark = apart ? /^[ \t]*(?:\/\/[^\n]*)?/.exec(text.slice(at))[0] : '';
  return `${text.slice(0, at)}${comma ? '' : ','}${remark}${apart ? `\n${indent}` : ' '}${added}${comma ? ',' : ''}${text.slice(at + remark.length)}`;
}
