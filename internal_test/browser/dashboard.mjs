// The dashboard as a person uses it. One page lives through all checks, in the order
// of a first visit; at the end nothing may have gone wrong behind its back.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { check } from './check.mjs';

const { GATEWAY, ADMIN_KEY, USER_KEY, CHROMIUM } = process.env;
const logRows = Number(process.env.LOG_ROWS);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pages = ['overview', 'requests', 'keys', 'providers', 'settings', 'playground'];

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// What no page may do: write an error to the console, throw, ask, or call another
// site. A refusal that a check provokes is expected.
const surprises = [];
let expected = [];

async function visit(options) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on('console', (message) => {
    const refusal = /status of (\d+)/.exec(message.text())?.[1];
    if (message.type() === 'error' && !expected.includes(Number(refusal))) surprises.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => surprises.push(`error: ${error.stack}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(`${GATEWAY}/`) && !request.url().startsWith('data:')) surprises.push(`request: ${request.url()}`);
  });
  page.on('dialog', async (dialog) => {
    surprises.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  await page.goto(`${GATEWAY}/_ui/`);
  return page;
}

// send makes a request as a client of the gateway does.
function send(path, body, key = USER_KEY) {
  return fetch(GATEWAY + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}
const ask = (model, more = {}, key = USER_KEY) =>
  send('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hello' }], ...more }, key);

async function login(page) {
  await page.getByLabel(/Admin key|管理员密钥/).fill(ADMIN_KEY);
  await page.keyboard.press('Enter');
  await page.locator('#nav a').first().waitFor();
}

async function open(page, name, query = '') {
  await page.evaluate((hash) => { location.hash = hash; }, `#/${name}${query}`);
  await page.locator(`main.page-${name}`).waitFor();
}

// eventually waits until read gives what is wanted.
async function eventually(read, want, within = 15_000) {
  const deadline = Date.now() + within;
  let got;
  do {
    got = await read();
    if (want(got)) return got;
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (Date.now() < deadline);
  return assert.fail(`still ${JSON.stringify(got)}`);
}

const rows = (page) => page.locator('.log tbody tr:not(.spacer)');
const cells = (page, column) => page.locator(`.log tbody td.c-${column}`).allTextContents();
const button = (page, name) => page.getByRole('button', { name, exact: true });

const page = await visit();

await check('login', async () => {
  expected = [401, 403];
  const field = page.getByLabel('Admin key');
  await field.fill(USER_KEY);
  await page.keyboard.press('Enter');
  await page.getByText('This is no admin key of this gateway.').waitFor();
  await login(page);
  expected = [];
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, 'Strict');
  assert.equal(await page.evaluate(() => document.cookie), '');
});

await check('overview', async () => {
  await page.getByText('Running: clients are served').waitFor();
  await page.getByRole('region', { name: 'Connect a client' }).getByText(`${GATEWAY}/v1`, { exact: true }).waitFor();
  await page.locator('.errors li').first().waitFor();
  for (const client of ['curl', 'Claude Code', 'Codex', 'OpenAI, Python', 'Anthropic, JavaScript', 'AI SDK', 'Cherry Studio']) {
    await button(page, client).click();
    await eventually(() => page.locator('.snippets').textContent(), (text) => text.includes(GATEWAY));
  }
  const chart = page.locator('figure', { hasText: 'Requests' });
  await chart.locator('svg rect.fill').first().waitFor();
  await chart.getByText('As a table').click();
  const counts = await chart.locator('tbody td:nth-child(2)').allTextContents();
  assert.ok(counts.reduce((sum, n) => sum + Number(n.replaceAll(',', '')), 0) > 0, 'the table twin has no requests');
});

await check('keyboard', async () => {
  for (const [i, name] of pages.entries()) {
    await page.keyboard.press(String(i + 1));
    await page.locator(`main.page-${name}`).waitFor();
    await page.keyboard.press('Escape'); // out of a field that the page has focused
  }
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});

await check('a live row', async () => {
  await open(page, 'requests');
  await page.getByText('live').waitFor();
  let best = Infinity;
  for (const i of [1, 2, 3]) {
    await (await ask(`demo-live-${i}`)).text();
    const ended = Date.now();
    await rows(page).filter({ hasText: `demo-live-${i}` }).waitFor();
    best = Math.min(best, Date.now() - ended);
  }
  assert.ok(best < 1000, `after ${best} ms`);
  return `${best} ms after the answer's end`;
});

await check('filter by keyboard', async () => {
  await page.locator('.log-scroll').focus();
  await page.keyboard.press('/');
  await page.keyboard.type('model:demo-error-* status:429');
  await page.keyboard.press('Enter');
  const only = (status) => (texts) => texts.length > 0 && texts.every((text) => text.endsWith(status));
  await eventually(() => cells(page, 'status'), only('429'));
  assert.match(page.url(), /#\/requests\?model=demo-error-\*&status=429$/);
  assert.match(await page.getByRole('link', { name: 'Export as csv' }).getAttribute('href'), /status=429.*format=csv/);
  await page.reload();
  await eventually(() => cells(page, 'status'), only('429'));
  assert.equal(await page.getByRole('searchbox').inputValue(), 'status:429 model:demo-error-*');
  await page.getByLabel('Status').selectOption('5xx');
  await eventually(() => cells(page, 'status'), only('500'));
  await page.getByRole('searchbox').fill('no such text anywhere');
  await page.getByText('No request matches the filter.').waitFor();
  expected = [400];
  await page.getByRole('searchbox').fill('status:many');
  await page.getByRole('alert').filter({ hasText: 'status' }).waitFor();
  expected = [];
  await page.getByRole('searchbox').fill('');
  await eventually(() => rows(page).count(), (n) => n > 10);
});

await check('drawer', async () => {
  await page.locator('.log-scroll').focus();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  const drawer = page.getByRole('complementary', { name: 'Request details' });
  await drawer.waitFor();
  const second = await page.locator('.log tr[aria-current]').getAttribute('aria-rowindex');
  assert.equal(second, '3');
  const record = JSON.parse(await drawer.locator('pre').textContent());
  assert.ok(page.url().includes(record.id));
  await page.reload();
  await drawer.getByText(record.id).first().waitFor();
  await page.keyboard.press('Escape');
  await drawer.waitFor({ state: 'hidden' });
});

await check('pause and new rows', async () => {
  await button(page, 'Pause').click();
  await (await ask('demo-while-paused')).text();
  await page.getByText('1 new request').click();
  await rows(page).filter({ hasText: 'demo-while-paused' }).waitFor();
  await button(page, 'Resume').click();
});

await check('values stay text', async () => {
  const names = ['<script>window.taken = 1</script>', '<img src=x onerror="window.taken = 1">', '"><svg onload=window.taken=1>'];
  for (const name of names) await (await ask(name)).text();
  for (const name of names) {
    const row = rows(page).filter({ hasText: name });
    await row.click();
    await page.locator('.drawer h2').filter({ hasText: name }).waitFor();
  }
  await open(page, 'overview');
  await page.locator('.errors .what').getByText(names[2]).waitFor();
  assert.equal(await page.evaluate(() => window.taken), undefined);
  assert.equal(await page.locator('main script, main img').count(), 0);
});

await check(`${logRows} rows`, async () => {
  await open(page, 'requests');
  await eventually(() => rows(page).count(), (n) => n > 10);
  const measured = await page.evaluate(async (wanted) => {
    const scroller = document.querySelector('.log-scroll');
    const height = document.querySelector('.log tbody tr:not(.spacer)').offsetHeight;
    const frame = () => new Promise(requestAnimationFrame);
    const deadline = performance.now() + 40_000;
    while (scroller.scrollHeight < wanted * height && performance.now() < deadline) {
      scroller.scrollTop = scroller.scrollHeight;
      await frame();
    }
    const times = [];
    let most = 0;
    let last = await frame();
    for (let i = 0; i < 300; i += 1) {
      scroller.scrollTop = i < 200 ? i * 700 : scroller.scrollHeight * ((i * 37) % 100) / 100;
      const now = await frame();
      times.push(now - last);
      last = now;
      most = Math.max(most, document.querySelectorAll('.log tbody tr').length);
    }
    times.sort((a, b) => a - b);
    return { rows: Math.floor(scroller.scrollHeight / height), most, p50: times[150], p95: times[285], worst: times[299] };
  }, logRows);
  assert.ok(measured.rows >= logRows, `only ${measured.rows} rows`);
  assert.ok(measured.most < 200, `${measured.most} rows in the page`);
  return `${measured.rows} rows, ${measured.most} at most in the page; frames p50 ${measured.p50.toFixed(1)} ms, p95 ${measured.p95.toFixed(1)} ms, worst ${measured.worst.toFixed(1)} ms`;
});

await check('stop, start, restart', async () => {
  await open(page, 'overview');
  const stream = await ask('demo-slow', { stream: true });
  await eventually(async () => (await page.locator('.state-panel').textContent()), (text) => text.includes('1 in progress, 1 of them a stream'));
  await button(page, 'Stop').click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.textContent(), /1 request in progress, 1 of them a stream\./);
  await button(dialog, 'Stop').click();
  await page.getByText('Stopped: clients get 503').waitFor();
  assert.equal((await ask('demo-fast')).status, 503);
  assert.match(await stream.text(), /\[DONE\]/, 'the stream under way was cut');
  await button(page, 'Start').click();
  await page.getByText('Running: clients are served').waitFor();
  assert.equal((await ask('demo-fast')).status, 200);
  await button(page, 'Restart').click();
  await button(dialog, 'Restart').click();
  await page.getByText('Restarted.').waitFor();
  await page.getByText('Running: clients are served').waitFor();
  assert.equal((await ask('demo-fast')).status, 200);
});

await check('config: a fault, and its repair', async () => {
  await open(page, 'settings');
  const area = page.getByLabel('Text of the config file');
  const original = await eventually(() => area.inputValue(), (text) => text.includes('"operator"'));
  assert.ok(!original.includes(ADMIN_KEY) && !original.includes(USER_KEY), 'a secret is shown');
  const wrong = original.replace('"drain"', '"drian"');
  await area.fill(wrong);
  const line = original.split('\n').findIndex((l) => l.includes('"drain"')) + 1;
  const fault = page.locator('.faults').getByRole('button', { name: new RegExp(`^line ${line},`) });
  await fault.click();
  assert.ok(await button(page, 'Save…').isDisabled(), 'a faulty text can be saved');
  const selected = await area.evaluate((a) => [a.value.slice(0, a.selectionStart).split('\n').length, a.value.slice(a.selectionStart, a.selectionEnd)]);
  assert.equal(selected[0], line);
  assert.match(selected[1], /^"drian"/);
  assert.equal(await page.locator('.gutter .bad').textContent(), `✕ ${line}`);

  await area.fill(original.replace('"hello": "demo/demo-fast"', '"hello": "demo/demo-fast", "salut": "demo/demo-fast"'));
  await page.getByText('Valid, not saved yet').waitFor();
  await button(page, 'Save…').click();
  const dialog = page.getByRole('dialog', { name: 'What changes' });
  assert.match(await dialog.locator('.in').textContent(), /salut/);
  await button(dialog, 'Save and reload').click();
  await page.getByText('Saved and in force.').waitFor();
  assert.equal((await ask('salut')).status, 200);
  assert.equal((await ask('salut', {}, ADMIN_KEY)).status, 200, 'a masked key was not kept');
});

await check('config: changed by someone else', async () => {
  const area = page.getByLabel('Text of the config file');
  const mine = (await area.inputValue()).replace('"salut"', '"servus"');
  await area.fill(mine);
  await page.getByText('Valid, not saved yet').waitFor();
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const file = await fetch(`${GATEWAY}/_config`, { headers });
  const theirs = (await file.text()).replace('"salut"', '"ciao"');
  const put = await fetch(`${GATEWAY}/_config`, { method: 'PUT', headers: { ...headers, 'content-type': 'text/plain', 'if-match': file.headers.get('etag') }, body: theirs });
  assert.equal(put.status, 200);
  expected = [412];
  await button(page, 'Save…').click();
  await button(page.getByRole('dialog'), 'Save and reload').click();
  const conflict = page.getByRole('dialog', { name: 'The file has changed' });
  await button(conflict, 'Compare').click();
  expected = [];
  const dialog = page.getByRole('dialog', { name: 'What changes' });
  assert.match(await dialog.locator('.out').textContent(), /ciao/);
  await button(dialog, 'Save and reload').click();
  await page.getByText('As in the file').waitFor();
  assert.equal((await ask('servus')).status, 200);
});

await check('a new key', async () => {
  await open(page, 'keys');
  await page.getByRole('rowheader', { name: '小王' }).waitFor();
  await page.getByLabel('Name').fill('laptop');
  await button(page, 'Create a key').click();
  const dialog = page.getByRole('dialog');
  const key = await dialog.locator('pre').first().textContent();
  assert.match(key, /^pc_/);
  assert.equal((await ask('demo-fast', {}, key)).status, 401);
  await button(dialog, 'Add it in Settings').click();
  await page.getByText('Valid, not saved yet').waitFor();
  await page.keyboard.press('Control+s');
  const diff = page.getByRole('dialog', { name: 'What changes' });
  assert.ok(!(await diff.textContent()).includes(key), 'the key itself is in the config');
  await button(diff, 'Save and reload').click();
  await page.getByText('As in the file').waitFor();
  assert.equal((await ask('demo-fast', {}, key)).status, 200);
  await open(page, 'keys');
  const row = page.getByRole('row', { name: /laptop/ });
  await row.getByText('1', { exact: true }).waitFor();
  assert.ok(!(await page.content()).includes(key), 'the key is still in the page');
});

await check('providers', async () => {
  await open(page, 'providers');
  await page.getByRole('button', { name: 'Test demo' }).click();
  await page.locator('.test-result button', { hasText: 'demo-1' }).first().click();
  await button(page.getByRole('dialog', { name: 'Send a real request?' }), 'Send').click();
  await page.locator('.test-result pre').waitFor();
  await page.getByRole('rowheader', { name: 'servus' }).waitFor();
});

await check('playground', async () => {
  await open(page, 'playground');
  const answer = page.locator('.answer').last();
  for (const dialect of ['OpenAI', 'Claude']) {
    await page.getByLabel(dialect).check();
    await page.getByLabel('Model').fill('demo-1');
    await button(page, 'Send').click();
    await page.getByText('Streaming…').waitFor();
    await page.getByText(/^Done: /).waitFor();
    assert.ok((await answer.textContent()).length > 10);
    const numbers = await page.locator('.numbers dd').allTextContents();
    assert.ok(numbers.every((text) => text !== '–'), `${dialect}: ${numbers}`);
    assert.ok(await page.locator('.raw li').count() > 3);
  }
  await page.getByLabel('Model').fill('demo-slow');
  await button(page, 'Send').click();
  await eventually(() => answer.textContent(), (text) => text.length > 0);
  await button(page, 'Stop').click();
  await page.getByText('Stopped.', { exact: true }).waitFor();
  expected = [404];
  await page.getByLabel('Model').fill('no-such-model');
  await button(page, 'Send').click();
  await page.getByRole('alert').filter({ hasText: '404' }).waitFor();
  expected = [];
});

// Accessibility, in both themes, both languages and on a narrow screen.
const looks = [
  { locale: 'en-GB', colorScheme: 'light' },
  { locale: 'zh-CN', colorScheme: 'dark' },
  { locale: 'zh-CN', colorScheme: 'light', viewport: { width: 390, height: 800 } },
];
for (const look of looks) {
  const name = `${look.locale} ${look.colorScheme} ${look.viewport?.width ?? 1280}`;
  await check(`accessible: ${name}`, async () => {
    const other = await visit(look);
    const faults = [];
    const audit = async (what) => {
      await other.evaluate(axe);
      const { violations } = await other.evaluate(() => globalThis.axe.run());
      for (const v of violations) faults.push(`${what}: ${v.id} (${v.impact}): ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')}`);
    };
    await audit('login');
    await login(other);
    assert.equal(await other.evaluate(() => document.documentElement.lang), look.locale.startsWith('zh') ? 'zh-CN' : 'en');
    for (const one of pages) {
      await open(other, one);
      await other.waitForLoadState('load');
      await other.waitForTimeout(500); // the page's own calls
      if (one === 'requests') {
        await rows(other).first().click();
        await other.locator('.drawer h2').waitFor();
      }
      await audit(one);
      if (one === 'overview') {
        await other.keyboard.press('?');
        await audit('dialog');
        await other.keyboard.press('Escape');
      }
      const wide = await other.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) faults.push(`${one} is ${wide} px wider than the screen`);
    }
    await other.context().close();
    assert.deepEqual(faults, []);
  });
}

await check('language and theme', async () => {
  const fresh = await visit({ locale: 'zh-TW' });
  await fresh.getByRole('button', { name: '登录' }).waitFor();
  await login(fresh);
  await fresh.getByText('运行中：正常服务').waitFor();
  await fresh.locator('#language').click();
  await fresh.getByText('Running: clients are served').waitFor();
  assert.equal(await fresh.getByRole('navigation').getAttribute('aria-label'), 'Pages');
  const ground = () => fresh.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await fresh.locator('#theme').click(); // light
  await fresh.locator('#theme').click(); // dark
  assert.notEqual(await ground(), before);
  await fresh.reload();
  await fresh.getByText('Running: clients are served').waitFor();
  assert.notEqual(await ground(), before, 'the theme was forgotten');
  await button(fresh, 'Log out').click();
  await fresh.getByLabel('Admin key').waitFor();
  await fresh.context().close();
});

await check('the gateway is gone', async () => {
  await open(page, 'overview');
  await page.route('**/_status', (route) => route.abort());
  await page.getByText('No answer from the gateway').waitFor();
  await page.unroute('**/_status');
  await page.getByText('Running: clients are served').waitFor();
  for (let i = surprises.length - 1; i >= 0; i -= 1) if (surprises[i].includes('net::ERR_FAILED')) surprises.splice(i, 1);
});

await browser.close();

await check('no error, dialog or foreign request', async () => assert.deepEqual(surprises, []));
