// The Vercel AI SDK against the gateway, through its three providers.
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, generateObject, generateText, jsonSchema, streamText, tool } from 'ai';
import { assert, base, big, check, collect, key, parameters, rejects, statuses } from './check.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false; // they go to stdout

const providers = (apiKey) => {
  const openai = createOpenAI({ baseURL: `${base}/v1`, apiKey });
  const anthropic = createAnthropic({ baseURL: `${base}/v1`, apiKey });
  const compatible = createOpenAICompatible({ name: 'gateway', baseURL: `${base}/v1`, apiKey, supportsStructuredOutputs: true });
  return {
    'openai responses': { prefix: 'o', model: (id) => openai(id) },
    'openai chat': { prefix: 'o', model: (id) => openai.chat(id) },
    compatible: { prefix: 'o', model: (id) => compatible(id) },
    anthropic: { prefix: 'a', model: (id) => anthropic(id) },
    embedding: { openai: (id) => openai.embedding(id), compatible: (id) => compatible.textEmbeddingModel(id) },
  };
};
const { embedding, ...all } = providers(key);
const { embedding: _, ...foreign } = providers('not-a-key-of-this-gateway');
const common = { prompt: 'hello', maxRetries: 0, maxOutputTokens: 200 };
const tools = { weather: tool({ inputSchema: jsonSchema(parameters) }) };

// parts reads a stream to its end; the SDK reports errors as parts of it.
const parts = (options) => collect(streamText({ ...common, onError() {}, ...options }).fullStream);

for (const [name, { prefix, model }] of Object.entries(all)) {
  for (const id of [`${prefix}-chat`, 'demo-fast']) {
    await check(`${name} ${id} text`, async () => {
      const reply = await generateText({ ...common, model: model(id) });
      assert.ok(reply.text);
      assert.equal(reply.finishReason, 'stop');
      assert.ok(reply.usage.outputTokens > 0);
    });
    await check(`${name} ${id} stream`, async () => {
      const seen = await parts({ model: model(id) });
      assert.ok(seen.some((p) => p.type === 'text-delta'));
      assert.equal(seen.at(-1).type, 'finish', JSON.stringify(seen.filter((p) => p.type === 'error')));
      assert.equal(seen.at(-1).finishReason, 'stop');
    });
  }
  if (name !== 'openai responses') {
    await check(`${name} tools`, async () => {
      const reply = await generateText({ ...common, model: model(`${prefix}-tools`), tools });
      assert.deepEqual(reply.toolCalls.map((c) => c.input.city), ['Paris', '北京']);
    });
    await check(`${name} tools stream`, async () => {
      const calls = (await parts({ model: model(`${prefix}-tools`), tools })).filter((p) => p.type === 'tool-call');
      assert.deepEqual(calls.map((c) => c.input.city), ['Paris', '北京']);
    });
    await check(`${name} demo object`, async () => {
      const reply = await generateObject({ ...common, model: model('demo-fast'), schema: jsonSchema({ ...parameters, additionalProperties: false }) });
      assert.ok(Number.isInteger(reply.object.days));
    });
  }
  await check(`${name} demo forced tool`, async () => {
    const reply = await generateText({ ...common, model: model('demo-fast'), tools, toolChoice: 'required' });
    assert.ok(Number.isInteger(reply.toolCalls[0].input.days));
  });
  await check(`${name} demo forced tool stream`, async () => {
    const seen = await parts({ model: model('demo-fast'), tools, toolChoice: 'required' });
    assert.ok(Number.isInteger(seen.find((p) => p.type === 'tool-call').input.days));
  });
  for (const status of Object.keys(statuses)) {
    await check(`${name} provider's ${status}`, async () => {
      const error = await rejects(() => generateText({ ...common, model: model(`${prefix}-status-${status}`) }));
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.statusCode, Number(status));
      assert.match(error.message, new RegExp(`told ${status}`));
    });
  }
  await check(`${name} gateway errors`, async () => {
    const fails = async (options) => (await rejects(() => generateText({ ...common, ...options }))).statusCode;
    assert.equal(await fails({ model: foreign[name].model(`${prefix}-chat`) }), 401);
    assert.equal(await fails({ model: model('no-such-model') }), 404);
    assert.equal(await fails({ model: model(`${prefix}-chat`), prompt: big }), 413);
  });
  await check(`${name} error in mid-stream`, async () => {
    const seen = await parts({ model: model(`${prefix}-miderror`) });
    assert.ok(seen.some((p) => p.type === 'error'), JSON.stringify(seen.slice(-3)));
  });
  for (const where of ['boundary', 'inside']) {
    await check(`${name} cut ${where}`, async () => {
      let seen = [];
      try {
        seen = await parts({ model: model(`${prefix}-cut-${where}`) });
      } catch {
        return;
      }
      assert.ok(seen.some((p) => p.type === 'error'), JSON.stringify(seen.slice(-3)));
    });
  }
  await check(`${name} abort`, async () => {
    const id = `${prefix}-slow-${name.replace(' ', '-')}`;
    const control = new AbortController();
    for await (const part of streamText({ ...common, model: model(id), abortSignal: control.signal, onError() {} }).fullStream) {
      if (part.type !== 'text-delta') continue;
      control.abort();
      return { model: id, aborted: Date.now() };
    }
    assert.fail('no text came');
  });
}

for (const [name, model] of Object.entries(embedding)) {
  await check(`${name} embedding`, async () => {
    const reply = await embed({ model: model('demo-1'), value: 'hello', maxRetries: 0 });
    assert.equal(reply.embedding.length, 256);
  });
}
