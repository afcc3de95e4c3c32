// The address: #/page?name=value. What a page shows can be bookmarked and sent.

export const pages = ['overview', 'requests', 'keys', 'providers', 'settings', 'playground'];

// current gives the page that the address names, and its parameters.
export function current() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { page: pages.includes(path) ? path : pages[0], params: Object.fromEntries(new URLSearchParams(query)) };
}

// link gives the address of a page. Parameters without a value are left out.
export function link(page, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== undefined && v !== null && v !== ''));
  // A hash may hold these as they are, and people read it.
  const text = String(query).replace(/%2A/gi, '*').replace(/%2C/gi, ',').replace(/%3A/gi, ':').replace(/%2F/gi, '/');
  return `#/${page}${text && `?${text}`}`;
}

// go moves to a page; replace does so without a step in the history.
export function go(page, params) {
  location.hash = link(page, params);
}

export function replace(page, params) {
  if (location.hash === link(page, params)) return;
  history.replaceState(null, '', link(page, params));
}
