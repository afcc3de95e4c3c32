// What the SDK scripts share: the gateway's address and keys, and check, which runs one
// check and prints its outcome as a line of JSON for sdk_test.go.
import assert from 'node:assert/strict';

export { assert };
export const base = process.env.GATEWAY;
export const key = process.env.GATEWAY_KEY;

const only = process.argv[2];

export async function check(name, body) {
  if (only && !name.includes(only)) return;
  const line = { name, ok: true };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('not done within 20 s')), 20_000);
  });
  try {
    Object.assign(line, await Promise.race([body(), late]));
  } catch (error) {
    line.ok = false;
    line.detail = String(error?.stack ?? error).slice(0, 2000);
  } finally {
    clearTimeout(timer);
  }
  console.log(JSON.stringify(line));
}

// rejects gives the error of body, which must fail.
export async function rejects(body) {
  try {
    await body();
  } catch (error) {
    return error;
  }
  assert.fail('it did not fail');
}

// collect reads an async iterable to its end.
export async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

// statuses are the provider errors that each SDK must turn into its right class.
export const statuses = {
  400: 'BadRequestError',
  403: 'PermissionDeniedError',
  404: 'NotFoundError',
  409: 'ConflictError',
  413: 'APIError',
  422: 'UnprocessableEntityError',
  429: 'RateLimitError',
  500: 'InternalServerError',
  503: 'InternalServerError',
  529: 'InternalServerError',
};

export const big = 'x'.repeat(3 << 20); // over the gateway's max_body in these tests
export const hello = [{ role: 'user', content: 'hello' }];
export const parameters = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
};
