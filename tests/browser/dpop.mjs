// Drives session.js with `dpop` in headless Chromium against the demo with DPOP=1: where the key is, that tabs share
// it, and that what a thief can copy out of the browser is of no use elsewhere. What it needs, support.mjs says.

import assert from 'node:assert/strict';
import { ProofKey } from '../../examples/demo/dpop.js';
import { ADA, BASE_URL, BOB, COOKIE, browser, check, expectError, isRefresh, newContext, refreshCookie, unexpected }
  from './support.mjs';

const ME = `${BASE_URL}/api/me`;
const REFRESH = `${BASE_URL}/auth/refresh`;

// Nobody is signed in at first; proofs without a nonce are refused, where the demo wants one.
for (const path of ['/auth/login', '/auth/refresh', '/api/me']) expectError(path, /status of 40[01]/);

// Runs in each page before anything else. The pages are blank: what is tried is the module.
function prepare() {
  if (location.pathname !== '/health') return;
  window.outcome = (call) => call.then((user) => user?.email, (error) => error.code ?? String(error));
  window.ready = import(`${location.origin}/session.js`).then(({ Session }) => {
    window.session = new Session({ dpop: true });
    return outcome(session.refresh());
  });
  window.keys = () => new Promise((resolve, reject) => {
    const request = indexedDB.open('session-keys');
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const all = request.result.transaction('keys').objectStore('keys').getAll();
      all.onerror = () => reject(all.error);
      all.onsuccess = () => {
        request.result.close();
        resolve(all.result);
      };
    };
  });
}

// The requests of the context that carry a proof, as they were sent.
function watchProofs(context) {
  const sent = [];
  context.on('request', (request) => {
    const { dpop, authorization } = request.headers();
    if (!dpop) return;
    const [header, claims] = dpop.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
    sent.push({ url: request.url(), method: request.method(), proof: dpop, authorization, x: header.jwk.x, claims });
  });
  return sent;
}

async function open(context) {
  const page = await context.newPage();
  await page.addInitScript(prepare);
  await page.goto(`${BASE_URL}/health`);
  return page;
}

async function login(page, { email, password }) {
  const answered = page.waitForResponse((answer) => answer.url().endsWith('/auth/login') && answer.ok());
  assert.equal(await page.evaluate((given) => outcome(session.login(given)), { email, password }), email);
  return (await answered).json();
}

const refresh = (page) => page.evaluate(() => outcome(session.refresh()));
const me = (page) => page.evaluate(async () => {
  const answer = await session.fetch('/api/me');
  return [answer.status, answer.ok ? (await answer.json()).email : null];
});

// ── A thief, who has a key of his own ──

const thiefsKey = await ProofKey.open('thief'); // there is no IndexedDB in Node: it is in memory

// Sends what was copied; with `prove` he does as the server says and takes its nonce.
async function present(url, { method = 'GET', token, scheme, cookie, proof, prove = false }) {
  const headers = {};
  if (token) headers.authorization = `${scheme} ${token}`;
  if (cookie) Object.assign(headers, { cookie: `${COOKIE}=${cookie}`, 'x-session-request': '1' });
  const send = async (nonce) => {
    const dpop = prove ? await thiefsKey.prove({ method, url, token, nonce }) : proof;
    return fetch(url, { method, headers: dpop ? { ...headers, dpop } : headers });
  };
  let answer = await send();
  const nonce = answer.headers.get('dpop-nonce');
  if (prove && nonce && !answer.ok) answer = await send(nonce);
  const text = await answer.text();
  assert.ok(!text.includes('access_token'), `a thief was given a token by ${url}`);
  assert.ok(!answer.ok, `a thief was answered ${answer.status} by ${url}`);
  return { status: answer.status, challenge: answer.headers.get('www-authenticate') ?? '', text };
}

const context = await newContext();
const sent = watchProofs(context);
const page = await open(context);
let token;

await check('a login gives a token that is bound, and requests prove the key', async () => {
  assert.equal(await page.evaluate(() => ready), 'ended');
  const answer = await login(page, ADA);
  assert.equal(answer.token_type, 'DPoP');
  token = answer.access_token;
  const { cnf } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  assert.match(cnf.jkt, /^[\w-]{43}$/);
  assert.deepEqual(await me(page), [200, ADA.email]);
  const asked = sent.findLast(({ url }) => url === ME);
  assert.equal(asked.authorization, `DPoP ${token}`);
  assert.equal(asked.claims.htu, ME);
  assert.equal(await refresh(page), ADA.email);
});

await check('the key cannot be taken out of the browser', async () => {
  const seen = await page.evaluate(async () => {
    const found = await keys();
    const [{ privateKey }] = found;
    const formats = ['jwk', 'pkcs8', 'raw', 'spki'];
    const taken = await Promise.all(formats.map((format) => crypto.subtle.exportKey(format, privateKey)
      .then(() => format, () => null)));
    const wrapping = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['wrapKey']);
    const iv = crypto.getRandomValues(new Uint8Array(12));
    taken.push(await crypto.subtle.wrapKey('pkcs8', privateKey, wrapping, { name: 'AES-GCM', iv })
      .then(() => 'wrapped', () => null));
    const { extractable, usages } = privateKey;
    return { count: found.length, extractable, usages, taken, json: JSON.stringify(privateKey) };
  });
  assert.deepEqual(seen, { count: 1, extractable: false, usages: ['sign'], taken: Array(5).fill(null), json: '{}' });
});

await check('two tabs that start at once have one key, and it outlives a reload', async () => {
  const fresh = await newContext();
  const proofs = watchProofs(fresh);
  const tabs = await Promise.all([open(fresh), open(fresh)]);
  for (const tab of tabs) assert.equal(await tab.evaluate(() => ready), 'ended');
  assert.ok(proofs.length >= 2);
  await login(tabs[0], BOB);
  await tabs[1].waitForFunction(() => session.state.status === 'signed-in');
  for (const tab of tabs) assert.deepEqual(await me(tab), [200, BOB.email]);
  await tabs[0].reload();
  assert.equal(await tabs[0].evaluate(() => ready), BOB.email);
  assert.deepEqual(await me(tabs[0]), [200, BOB.email]);
  await tabs[0].evaluate(() => session.logout());
  await login(tabs[1], ADA);
  assert.equal(new Set(proofs.map(({ x }) => x)).size, 1);
  assert.equal(await tabs[1].evaluate(async () => (await keys()).length), 1);
  assert.notEqual(proofs[0].x, sent[0].x, 'another browser has the same key');
  await fresh.close();
});

await check('an access token that was copied is of no use without the key', async () => {
  for (const [how, given] of [
    ['as Bearer', { scheme: 'Bearer' }],
    ['as Bearer, with a proof by another key', { scheme: 'Bearer', prove: true }],
    ['without a proof', { scheme: 'DPoP' }],
    ['with a proof by another key', { scheme: 'DPoP', prove: true }],
    ['with a proof that was used', { scheme: 'DPoP', proof: sent.findLast(({ url }) => url === ME).proof }],
    ['with a proof for something else', { scheme: 'DPoP', proof: sent.findLast(({ url }) => url === REFRESH).proof }],
  ]) {
    const { status, challenge } = await present(ME, { token, ...given });
    assert.equal(status, 401, how);
    assert.match(challenge, /DPoP /, how);
  }
  assert.deepEqual(await me(page), [200, ADA.email], 'the token itself is good');
});

await check('nor is the cookie, and the session does not end for it', async () => {
  const { value: cookie } = await refreshCookie(context);
  const used = sent.findLast(({ url }) => url === REFRESH).proof;
  for (const [how, given] of [
    ['without a proof', {}],
    ['with a proof by another key', { prove: true }],
    ['with a proof that was used', { proof: used }],
  ]) {
    const { status } = await present(REFRESH, { method: 'POST', cookie, ...given });
    assert.ok(status === 400 || status === 401, `${how}: ${status}`);
  }
  assert.equal(await refresh(page), ADA.email);
  assert.deepEqual(await me(page), [200, ADA.email]);
});

await check('a key that was lost needs a new login', async () => {
  await page.goto('about:blank');
  await page.goto(`${BASE_URL}/health?again`);
  assert.equal(await page.evaluate(() => ready), ADA.email);
  await page.evaluate(() => new Promise((resolve, reject) => {
    session.close();
    const request = indexedDB.deleteDatabase('session-keys');
    Object.assign(request, { onsuccess: resolve, onerror: reject });
  }));
  const before = sent.length;
  await page.reload();
  assert.equal(await page.evaluate(() => ready), 'ended');
  await login(page, ADA);
  assert.deepEqual(await me(page), [200, ADA.email]);
  assert.notEqual(sent[before].x, sent[0].x);
});

await check("the demo's page has it on", async () => {
  const fresh = await newContext();
  const proofs = watchProofs(fresh);
  const demo = await fresh.newPage();
  await demo.goto(BASE_URL);
  await demo.locator('#sign-in').waitFor();
  await demo.getByLabel('Email', { exact: true }).fill(ADA.email);
  await demo.getByLabel('Password', { exact: true }).fill(ADA.password);
  await demo.getByRole('button', { name: 'Sign in', exact: true }).click();
  await demo.locator('#signed-in').waitFor();
  await demo.locator('#claims dd').first().waitFor();
  const reloaded = demo.waitForResponse((answer) => isRefresh(answer) && answer.ok());
  await demo.reload();
  await reloaded;
  await demo.locator('#signed-in').waitFor();
  assert.match(proofs.find(({ url }) => url === ME).authorization, /^DPoP ./);
  await fresh.close();
});

await check('nothing else went wrong', async () => assert.deepEqual(unexpected, []));

await browser.close();
