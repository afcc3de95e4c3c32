// The gateway's operator API, as the dashboard calls it.

// ApiError is an answer that is not a success. Its message is for a person.
export class ApiError extends Error {
  // status is 0 if there was no answer; body is the JSON that came, or {}.
  constructor(status, message, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

const watchers = { login: () => {} };

// onLogin names what is called whenever the gateway asks for a login.
export function onLogin(call) {
  watchers.login = call;
}

// request sends one request and returns the response if it is a success.
async function request(method, path, { json, text, headers = {}, signal } = {}) {
  const init = { method, headers: { ...headers }, signal, cache: 'no-store' };
  if (json !== undefined) {
    init.headers['content-type'] = 'application/json';
    init.body = JSON.stringify(json);
  } else if (text !== undefined) {
    init.headers['content-type'] = 'text/plain; charset=utf-8';
    init.body = text;
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new ApiError(0, e.message);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  // A browser tells the client API where a call is from only on TLS and on this
  // machine, so a 401 of that API need not be the session's end.
  if (response.status === 401 && path.startsWith('/_') && path !== '/_ui/login') watchers.login();
  throw new ApiError(response.status, body.error?.message ?? `HTTP ${response.status}`, body);
}

const getJSON = async (path, options) => (await request('GET', path, options)).json();
const postJSON = async (path, json = {}) => (await request('POST', path, { json })).json();

export const session = () => getJSON('/_ui/session');
export const login = (key) => request('POST', '/_ui/login', { json: { key } });
export const logout = () => request('POST', '/_ui/logout', { json: {} });

export const status = () => getJSON('/_status');

// snippets returns the settings of every client that asks for model: [{client, title, text}].
export const snippets = async (model) => (await getJSON(`/_snippets?${new URLSearchParams({ model })}`)).snippets;
export const stats = (query) => getJSON(`/_stats?${new URLSearchParams(query)}`);

// service does stop, start, restart or reload.
export const service = (action) => postJSON(`/_service/${action}`);

// logsPath is the address of a query; filter maps the parameters of /_logs.
export const logsPath = (filter) => `/_logs?${new URLSearchParams(filter)}`;
export const logs = (filter, signal) => getJSON(logsPath(filter), { signal });

// models returns the names that clients may ask for.
export async function models() {
  return (await getJSON('/v1/models')).data.map((m) => m.id);
}

// config returns the file's text, its ETag, and whether it can be written.
export async function config() {
  const response = await request('GET', '/_config');
  return {
    text: await response.text(),
    etag: response.headers.get('etag'),
    writable: response.headers.get('x-config-writable') !== 'false',
  };
}

const putConfig = async (path, text, headers) => (await request('PUT', path, { text, headers })).json();

export const saveConfig = (text, etag) => putConfig('/_config', text, { 'if-match': etag });

// checkConfig returns {faults, warnings} and changes nothing.
export const checkConfig = (text) => putConfig('/_config?check=1', text);

export const createKey = (name) => postJSON('/_keys', { name });

// testProvider lists the provider's models; with a model it has a few tokens made.
export const testProvider = (name, model) =>
  postJSON(`/_providers/${encodeURIComponent(name)}/test`, model ? { model } : {});

// stream sends a client request and returns its response, of which the body is unread.
export const stream = (path, json, signal, headers) => request('POST', path, { json, signal, headers });
