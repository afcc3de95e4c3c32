// An official Anthropic SDK against the gateway; SDK names which of the installed ones.
import { assert, base, big, check, collect, hello, key, parameters, rejects, statuses } from './check.mjs';

const { default: Anthropic } = await import(process.env.SDK);
const make = (options) => new Anthropic({ baseURL: base, maxRetries: 0, authToken: null, apiKey: null, ...options });
const client = make({ apiKey: key });
const messages = client.messages;
const max_tokens = 200;
const tools = [{ name: 'weather', input_schema: parameters }];

for (const model of ['a-chat', 'demo-fast']) {
  await check(`${model} message`, async () => {
    const reply = await messages.create({ model, max_tokens, messages: hello });
    assert.ok(reply.content[0].text);
    assert.ok(reply.usage.output_tokens > 0);
    assert.ok(reply._request_id);
  });
  await check(`${model} stream`, async () => {
    const all = await collect(await messages.create({ model, max_tokens, messages: hello, stream: true }));
    assert.equal(all[0].type, 'message_start');
    assert.equal(all.at(-1).type, 'message_stop');
  });
  await check(`${model} stream helper`, async () => {
    const stream = messages.stream({ model, max_tokens, messages: hello });
    assert.ok(await stream.finalText());
    const reply = await stream.finalMessage();
    assert.equal(reply.stop_reason, 'end_turn');
    assert.ok(reply.usage.output_tokens > 0);
  });
  await check(`${model} count_tokens`, async () => {
    const count = await messages.countTokens({ model, messages: hello });
    assert.ok(count.input_tokens > 0);
  });
  await check(`${model} beta`, async () => {
    const reply = await client.beta.messages.create({ model, max_tokens, messages: hello, betas: ['x-1'] });
    assert.ok(reply.content[0].text);
  });
}
await check('bearer', async () => {
  const reply = await make({ authToken: key }).messages.create({ model: 'a-chat', max_tokens, messages: hello });
  assert.ok(reply.content[0].text);
});
await check('tools', async () => {
  const reply = await messages.create({ model: 'a-tools', max_tokens, messages: hello, tools });
  assert.deepEqual(reply.content.map((b) => b.input.city), ['Paris', '北京']);
});
await check('tools stream helper', async () => {
  const reply = await messages.stream({ model: 'a-tools', max_tokens, messages: hello, tools }).finalMessage();
  assert.deepEqual(reply.content.map((b) => b.input.city), ['Paris', '北京']);
});
for (const stream of [false, true]) {
  await check(`demo forced tool, stream ${stream}`, async () => {
    const request = { model: 'demo-fast', max_tokens, messages: hello, tools, tool_choice: { type: 'any' } };
    const reply = await (stream ? messages.stream(request).finalMessage() : messages.create(request));
    assert.equal(reply.stop_reason, 'tool_use');
    const call = reply.content.find((b) => b.type === 'tool_use');
    assert.equal(typeof call.input.city, 'string');
    assert.ok(Number.isInteger(call.input.days));
  });
}
await check('models', async () => {
  const ids = (await collect(client.models.list())).map((m) => m.id);
  assert.ok(ids.includes('demo-1'), String(ids));
  const model = await client.models.retrieve('demo-1');
  assert.equal(model.type, 'model');
  assert.ok((await rejects(() => client.models.retrieve('no-such-model'))) instanceof Anthropic.NotFoundError);
});

for (const [status, name] of Object.entries(statuses)) {
  await check(`provider's ${status}`, async () => {
    const error = await rejects(() => messages.create({ model: `a-status-${status}`, max_tokens, messages: hello }));
    assert.ok(error instanceof Anthropic[name], error.constructor.name);
    assert.equal(error.status, Number(status));
    assert.match(error.message, new RegExp(`told ${status}`));
  });
}
await check("provider's 401", async () => {
  const error = await rejects(() => messages.create({ model: 'a-status-401', max_tokens, messages: hello }));
  assert.ok(error instanceof Anthropic.InternalServerError, error.constructor.name);
  assert.equal(error.status, 502);
});
await check('gateway 401', async () => {
  const other = make({ apiKey: 'not-a-key-of-this-gateway' });
  const error = await rejects(() => other.messages.create({ model: 'a-chat', max_tokens, messages: hello }));
  assert.ok(error instanceof Anthropic.AuthenticationError, error.constructor.name);
  assert.equal(error.error.error.type, 'authentication_error');
});
await check('gateway 404', async () => {
  const error = await rejects(() => messages.create({ model: 'no-such-model', max_tokens, messages: hello }));
  assert.ok(error instanceof Anthropic.NotFoundError, error.constructor.name);
  assert.equal(error.error.error.type, 'not_found_error');
});
await check('gateway 400', async () => {
  const error = await rejects(() => messages.create({ max_tokens, messages: hello }));
  assert.ok(error instanceof Anthropic.BadRequestError, error.constructor.name);
});
await check('gateway 413', async () => {
  const error = await rejects(() => messages.create({ model: 'a-chat', max_tokens, messages: [{ role: 'user', content: big }] }));
  assert.equal(error.status, 413, String(error));
  assert.equal(error.error.error.type, 'request_too_large');
});
await check('error in mid-stream', async () => {
  const stream = await messages.create({ model: 'a-miderror', max_tokens, messages: hello, stream: true });
  const error = await rejects(() => collect(stream));
  assert.match(error.message, /told in mid-stream/);
});
for (const where of ['boundary', 'inside']) {
  await check(`cut ${where}`, async () => {
    const stream = await messages.create({ model: `a-cut-${where}`, max_tokens, messages: hello, stream: true });
    await rejects(() => collect(stream));
  });
  await check(`cut ${where} in the helper`, async () => {
    await rejects(() => messages.stream({ model: `a-cut-${where}`, max_tokens, messages: hello }).finalMessage());
  });
}
await check('demo-cut', async () => {
  const stream = await messages.create({ model: 'demo-cut', max_tokens, messages: hello, stream: true });
  await rejects(() => collect(stream));
});
await check('demo-error-529', async () => {
  const error = await rejects(() => messages.create({ model: 'demo-error-529', max_tokens, messages: hello }));
  assert.ok(error instanceof Anthropic.InternalServerError, error.constructor.name);
});
await check('abort', async () => {
  const model = `a-slow-${process.env.SDK.replace(/\W/g, '')}`;
  const stream = await messages.create({ model, max_tokens, messages: hello, stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    return { model, aborted: Date.now() };
  }
});
