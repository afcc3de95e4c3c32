// What this browser remembers of a person's choices: language, theme, shortcuts.
// A browser that keeps nothing is a browser that remembers nothing.

const prefix = 'proxycast.';

export function recall(name) {
  try {
    return localStorage.getItem(prefix + name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(prefix + name, value);
  } catch {
    // It holds until the page is left.
  }
}
