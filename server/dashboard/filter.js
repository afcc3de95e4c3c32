// The filter box: "status:5xx model:gpt-* timed out" is status=5xx, model=gpt-* and
// q="timed out". Names are those of GET /_logs; a name given twice means or, as a
// comma does.

const names = ['status', 'model', 'provider', 'key', 'endpoint', 'path', 'stream', 'min_ms', 'id', 'since', 'until'];

// parse reads the text of the box. A name without a value yet is left out; what has
// no known name is searched in the error text.
export function parse(text) {
  const filter = {};
  const plain = [];
  for (const [token] of text.matchAll(/[a-z_]+:"[^"]*"|\S+/g)) {
    const [, name, value] = /^([a-z_]+):(.*)$/s.exec(token) ?? [];
    if (!names.includes(name)) {
      plain.push(token);
      continue;
    }
    const bare = value.replace(/^"(.*?)"?$/, '$1').replace(/^,+|,+$/g, '');
    if (bare) filter[name] = filter[name] ? `${filter[name]},${bare}` : bare;
  }
  if (plain.length) filter.q = plain.join(' ');
  return filter;
}

// print is the inverse of parse.
export function print(filter) {
  const parts = names.filter((name) => filter[name]).map((name) => {
    const value = filter[name];
    return `${name}:${/\s/.test(value) ? `"${value}"` : value}`;
  });
  if (filter.q) parts.push(filter.q);
  return parts.join(' ');
}

// pick keeps of an address's parameters those that are filters.
export function pick(params) {
  return Object.fromEntries([...names, 'q'].filter((name) => params[name]).map((name) => [name, params[name]]));
}
