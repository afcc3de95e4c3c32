// How to point a client at the gateway: ready settings for each.

import { t } from './i18n.js';

// The clients, each with the texts that set it up: [{file, text}], file being where
// the text goes, or null for a shell.
const clients = {
  curl: ({ openai, model, setKey }) => [{
    file: null,
    text: `${setKey('PROXYCAST_KEY')}
curl ${openai}/chat/completions \\
  -H "Authorization: Bearer $PROXYCAST_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello!' }] }).replaceAll("'", "'\\''")}'`,
  }],

  'Claude Code': ({ anthropic, model, setKey }) => [{
    file: null,
    // Without a model of its own, Claude Code asks for names that begin with claude-.
    text: `export ANTHROPIC_BASE_URL=${anthropic}
${setKey('ANTHROPIC_AUTH_TOKEN')}
unset ANTHROPIC_API_KEY
${model.startsWith('claude-') ? '' : `export ANTHROPIC_MODEL=${word(model)} ANTHROPIC_DEFAULT_HAIKU_MODEL=${word(model)}\n`}claude`,
  }],

  Codex: ({ openai, model, setKey }) => [
    {
      file: '~/.codex/config.toml',
      text: `model = ${JSON.stringify(model)}
model_provider = "proxycast"

[model_providers.proxycast]
name = "ProxyCast"
base_url = "${openai}"
env_key = "PROXYCAST_KEY"
wire_api = "responses"`,
    },
    { file: null, text: `${setKey('PROXYCAST_KEY')}\ncodex` },
  ],

  'OpenAI SDK': ({ openai, model, setKey }) => [
    { file: null, text: setKey('PROXYCAST_KEY') },
    {
      file: 'Python',
      text: `import os
from openai import OpenAI

client = OpenAI(base_url="${openai}", api_key=os.environ["PROXYCAST_KEY"])
reply = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": "Hello!"}],
)
print(reply.choices[0].message.content)`,
    },
    {
      file: 'JavaScript',
      text: `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${openai}', apiKey: process.env.PROXYCAST_KEY });
const reply = await client.chat.completions.create({
  model: ${JSON.stringify(model)},
  messages: [{ role: 'user', content: 'Hello!' }],
});
console.log(reply.choices[0].message.content);`,
    },
  ],

  'Anthropic SDK': ({ anthropic, model, setKey }) => [
    { file: null, text: setKey('PROXYCAST_KEY') },
    {
      file: 'Python',
      text: `import os
from anthropic import Anthropic

client = Anthropic(base_url="${anthropic}", api_key=os.environ["PROXYCAST_KEY"])
reply = client.messages.create(
    model=${JSON.stringify(model)},
    max_tokens=200,
    messages=[{"role": "user", "content": "Hello!"}],
)
print(reply.content[0].text)`,
    },
    {
      file: 'JavaScript',
      text: `import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: '${anthropic}', apiKey: process.env.PROXYCAST_KEY });
const reply = await client.messages.create({
  model: ${JSON.stringify(model)},
  max_tokens: 200,
  messages: [{ role: 'user', content: 'Hello!' }],
});
console.log(reply.content[0].text);`,
    },
  ],

  'AI SDK': ({ openai, model, setKey }) => [
    { file: null, text: setKey('PROXYCAST_KEY') },
    {
      file: 'JavaScript',
      text: `import { createOpenAI } from '@ai-sdk/openai';
// createAnthropic of '@ai-sdk/anthropic' takes the same baseURL, /v1 included
import { generateText } from 'ai';

const provider = createOpenAI({ baseURL: '${openai}', apiKey: process.env.PROXYCAST_KEY });
const { text } = await generateText({ model: provider(${JSON.stringify(model)}), prompt: 'Hello!' });
console.log(text);`,
    },
  ],

  // It adds /v1 itself, for both types of provider.
  'Cherry Studio': ({ anthropic, model }) => [{
    file: t('snippet.cherry'),
    text: t('snippet.cherryFields', { host: anthropic, model }),
  }],
};

export const names = Object.keys(clients);

// texts gives a client's settings. Of values, openai and anthropic are base URLs,
// model a name, and keyFile the file of the admin key or empty.
export function texts(name, { openai, anthropic, model, keyFile }) {
  const key = keyFile ? `"$(cat ${quoted(keyFile)})"` : t('snippet.key');
  return clients[name]({ openai, anthropic, model, setKey: (variable) => `export ${variable}=${key}` });
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// word quotes what a shell would not take as it is.
const word = (text) => (/^[\w.:/@-]+$/.test(text) ? text : quoted(text));
