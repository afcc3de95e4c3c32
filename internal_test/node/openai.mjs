// The official OpenAI SDK against the gateway.
import OpenAI from 'openai';
import { assert, base, big, check, collect, hello, key, parameters, rejects, statuses } from './check.mjs';

const make = (apiKey) => new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const client = make(key);
const chat = client.chat.completions;
const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
const text = (chunks) => chunks.map((c) => c.choices[0].delta.content ?? '').join('');

for (const model of ['o-chat', 'demo-fast']) {
  await check(`${model} chat`, async () => {
    const reply = await chat.create({ model, messages: hello });
    assert.ok(reply.choices[0].message.content);
    assert.ok(reply.usage.total_tokens > 0);
    assert.ok(reply._request_id);
  });
  await check(`${model} stream`, async () => {
    const chunks = await collect(await chat.create({ model, messages: hello, stream: true }));
    assert.ok(text(chunks));
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every((c) => !c.usage));
  });
  await check(`${model} stream with usage`, async () => {
    const chunks = await collect(
      await chat.create({ model, messages: hello, stream: true, stream_options: { include_usage: true } }),
    );
    assert.ok(chunks.at(-1).usage.prompt_tokens > 0);
  });
  await check(`${model} stream helper`, async () => {
    const stream = chat.stream({ model, messages: hello });
    assert.ok(await stream.finalContent());
    assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, 'stop');
  });
  await check(`${model} responses`, async () => {
    const reply = await client.responses.create({ model, input: 'hello' });
    assert.equal(reply.status, 'completed');
    assert.ok(reply.output_text);
    assert.ok(reply.usage.output_tokens > 0);
  });
  await check(`${model} responses stream`, async () => {
    const all = await collect(await client.responses.create({ model, input: 'hello', stream: true }));
    assert.equal(all[0].type, 'response.created');
    assert.equal(all.at(-1).type, 'response.completed');
  });
  await check(`${model} responses stream helper`, async () => {
    const reply = await client.responses.stream({ model, input: 'hello' }).finalResponse();
    assert.equal(reply.status, 'completed');
    assert.ok(reply.output_text);
  });
  await check(`${model} embeddings`, async () => {
    const reply = await client.embeddings.create({ model, input: ['hello', 'world'] });
    assert.ok(reply.data.length >= 1);
    assert.ok(Array.isArray(reply.data[0].embedding));
    assert.ok(reply.data[0].embedding.every(Number.isFinite));
    const length = Math.hypot(...reply.data[0].embedding);
    assert.ok(Math.abs(length - 1) < 1e-3, `a unit vector of length ${length}`);
  });
}

await check('embeddings as numbers', async () => {
  const reply = await client.embeddings.create({ model: 'demo-1', input: 'hello', dimensions: 8, encoding_format: 'float' });
  assert.equal(reply.data[0].embedding.length, 8);
});

await check('tools', async () => {
  const reply = await chat.create({ model: 'o-tools', messages: hello, tools });
  const calls = reply.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((c) => JSON.parse(c.function.arguments).city), ['Paris', '北京']);
});
await check('tools stream helper', async () => {
  const reply = await chat.stream({ model: 'o-tools', messages: hello, tools }).finalChatCompletion();
  const calls = reply.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((c) => JSON.parse(c.function.arguments).city), ['Paris', '北京']);
});
for (const stream of [false, true]) {
  await check(`demo forced tool, stream ${stream}`, async () => {
    const request = { model: 'demo-fast', messages: hello, tools, tool_choice: 'required' };
    const reply = await (stream ? chat.stream(request).finalChatCompletion() : chat.create(request));
    const call = reply.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'weather');
    const input = JSON.parse(call.function.arguments);
    assert.equal(typeof input.city, 'string');
    assert.ok(Number.isInteger(input.days));
  });
}

await check('models', async () => {
  const ids = (await collect(client.models.list())).map((m) => m.id);
  assert.ok(ids.includes('demo-1'), String(ids));
  assert.ok(ids.every((id) => !id.includes('*')), String(ids));
  assert.equal((await client.models.retrieve('demo-1')).id, 'demo-1');
  assert.ok((await rejects(() => client.models.retrieve('no-such-model'))) instanceof OpenAI.NotFoundError);
});

for (const [status, name] of Object.entries(statuses)) {
  await check(`provider's ${status}`, async () => {
    const error = await rejects(() => chat.create({ model: `o-status-${status}`, messages: hello }));
    assert.ok(error instanceof OpenAI[name], error.constructor.name);
    assert.equal(error.status, Number(status));
    assert.match(error.message, new RegExp(`told ${status}`));
  });
}
await check("provider's 401", async () => {
  const error = await rejects(() => chat.create({ model: 'o-status-401', messages: hello }));
  assert.ok(error instanceof OpenAI.InternalServerError, error.constructor.name);
  assert.equal(error.status, 502);
});
await check('gateway 401', async () => {
  const error = await rejects(() => make('not-a-key-of-this-gateway').chat.completions.create({ model: 'o-chat', messages: hello }));
  assert.ok(error instanceof OpenAI.AuthenticationError, error.constructor.name);
  assert.equal(error.code, 'invalid_api_key');
});
await check('gateway 404', async () => {
  const error = await rejects(() => chat.create({ model: 'no-such-model', messages: hello }));
  assert.ok(error instanceof OpenAI.NotFoundError, error.constructor.name);
  assert.equal(error.code, 'model_not_found');
});
await check('gateway 400', async () => {
  const error = await rejects(() => chat.create({ messages: hello }));
  assert.ok(error instanceof OpenAI.BadRequestError, error.constructor.name);
});
await check('gateway 413', async () => {
  const error = await rejects(() => chat.create({ model: 'o-chat', messages: [{ role: 'user', content: big }] }));
  assert.equal(error.status, 413, String(error));
});
await check('error in mid-stream', async () => {
  const stream = await chat.create({ model: 'o-miderror', messages: hello, stream: true });
  const error = await rejects(() => collect(stream));
  assert.match(error.message, /told in mid-stream/);
});
for (const where of ['boundary', 'inside']) {
  await check(`cut ${where}`, async () => {
    const stream = await chat.create({ model: `o-cut-${where}`, messages: hello, stream: true });
    await rejects(() => collect(stream));
  });
  await check(`cut ${where} in the helper`, async () => {
    await rejects(() => chat.stream({ model: `o-cut-${where}`, messages: hello }).finalChatCompletion());
  });
}
await check('cut responses', async () => {
  const stream = await client.responses.create({ model: 'o-cut-boundary', input: 'hello', stream: true });
  await rejects(() => collect(stream));
});
await check('demo-cut', async () => {
  const stream = await chat.create({ model: 'demo-cut', messages: hello, stream: true });
  await rejects(() => collect(stream));
});
await check('demo-error-429', async () => {
  const error = await rejects(() => chat.create({ model: 'demo-error-429', messages: hello }));
  assert.ok(error instanceof OpenAI.RateLimitError, error.constructor.name);
});
await check('abort', async () => {
  const model = 'o-slow-openai';
  const stream = await chat.create({ model, messages: hello, stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    return { model, aborted: Date.now() };
  }
});
