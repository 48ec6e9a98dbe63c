// dpop.js, and session.js with `dpop`, against the fakes of world.mjs and a database made of a map. Keys and signatures
// are real.
//
//   node --test tests/browser/dpop.test.mjs

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { ProofKey, Proofs } from '../../examples/demo/dpop.js';
import { Session } from '../../examples/demo/session.js';
import { HOME, START, code, it as itPlain, json, never, refusal, settle, watch } from './world.mjs';

const LOGIN = `${HOME}/auth/login`;
const P256 = { name: 'ECDSA', namedCurve: 'P-256' };
const { setImmediate } = globalThis;

// As much of IndexedDB as dpop.js uses. Transactions that write come one after the other, as in a browser.
class Database {
  rows = new Map();
  opened = 0;
  open = 0;
  failing = null; // 'open', 'add' or 'hang'
  beforeWrite = () => {};
  #last = Promise.resolve();

  api() {
    return {
      open: () => {
        const request = {};
        this.opened += 1;
        later(() => {
          if (this.failing === 'hang') return;
          if (this.failing === 'open') return void request.onerror(request.error = new Error('refused'));
          this.open += 1;
          request.result = this.#connection();
          if (this.opened === 1) request.onupgradeneeded();
          request.onsuccess();
        });
        return request;
      },
    };
  }

  #connection() {
    return {
      createObjectStore: (name) => assert.equal(name, 'keys'),
      close: () => { this.open -= 1; },
      transaction: (name, mode) => {
        assert.equal(name, 'keys');
        const transaction = { error: null };
        const requests = [];
        const ask = (work) => {
          const request = { work };
          requests.push(request);
          return request;
        };
        transaction.objectStore = () => ({
          get: (key) => ask(() => this.rows.get(key)),
          add: (value, key) => ask(() => {
            assert.equal(mode, 'readwrite');
            if (this.failing === 'add') throw Object.assign(new Error('full'), { name: 'QuotaExceededError' });
            if (this.rows.has(key)) throw Object.assign(new Error('taken'), { name: 'ConstraintError' });
            this.rows.set(key, { ...value }); // a copy, as by structured cloning
          }),
        });
        this.#last = this.#last.then(() => new Promise((done) => {
          later(() => {
            if (mode === 'readwrite') this.beforeWrite();
            this.#run(transaction, requests);
            done();
          });
        }));
        return transaction;
      },
    };
  }

  #run(transaction, requests) {
    for (const request of requests) {
      try {
        request.result = request.work();
      } catch (error) {
        request.error = error;
        let prevented = false;
        request.onerror?.({ target: request, preventDefault: () => { prevented = true; }, stopPropagation() {} });
        if (prevented) continue;
        transaction.error = error;
        return void transaction.onabort();
      }
    }
    transaction.oncomplete();
  }
}

const later = (run) => { setImmediate(run); };

function it(name, body) {
  const database = new Database();
  itPlain(name, { indexedDB: database.api() }, (world) => body(Object.assign(world, { database })));
}

function table(name, rows, body) {
  for (const [title, ...row] of rows) it(`${name}: ${title}`, (world) => body(world, ...row));
}

const decoded = (part) => JSON.parse(Buffer.from(part, 'base64url'));
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');

// Reads a proof as a server would, and checks its signature by the key that it brings.
async function read(proof) {
  const parts = proof.split('.');
  assert.equal(parts.length, 3);
  for (const part of parts) assert.match(part, /^[\w-]+$/);
  const [header, claims] = parts.slice(0, 2).map(decoded);
  const key = await crypto.subtle.importKey('jwk', header.jwk, P256, true, ['verify']);
  const signature = Buffer.from(parts[2], 'base64url');
  assert.equal(signature.length, 64);
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  assert.ok(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, signature, signed), 'signature');
  return { header, claims, x: header.jwk.x };
}

// Cryptography takes its time, by no clock that a test has.
async function until(condition) {
  for (let i = 0; i < 500 && !condition(); i += 1) await settle();
}

const proofs = (calls) => Promise.all(calls.map(({ proof }) => read(proof)));
const nonces = async (calls) => (await proofs(calls)).map(({ claims }) => claims.nonce);
const bound = (w, more) => w.issued({ type: 'DPoP', ...more });
const nonce = (value) => ({ 'dpop-nonce': value });
const wantsNonce = (value) => json(400, { error: 'use_dpop_nonce' }, nonce(value));
const challenge = (error, more) => new Response('', {
  status: 401, headers: { 'www-authenticate': `DPoP realm="api", error="${error}", algs="ES256"`, ...more },
});

async function signedIn(w, options) {
  w.routes['/auth/login'] ??= () => bound(w);
  w.routes['/auth/refresh'] ??= () => bound(w);
  return w.signedIn({ dpop: true, ...options });
}

// ── A proof ──

it('a proof: its form, byte for byte what RFC 9449 asks for', async () => {
  const key = await ProofKey.open('a');
  const proof = await key.prove({ method: 'POST', url: `${HOME}:8443/a%20b?q=1#f`, now: START + 999 });
  const { header, claims } = await read(proof);
  assert.deepEqual(Object.keys(header), ['typ', 'alg', 'jwk']);
  assert.deepEqual([header.typ, header.alg], ['dpop+jwt', 'ES256']);
  assert.deepEqual(Object.keys(header.jwk), ['kty', 'crv', 'x', 'y']);
  assert.deepEqual([header.jwk.kty, header.jwk.crv], ['EC', 'P-256']);
  assert.deepEqual({ ...claims, jti: '' }, {
    jti: '', htm: 'POST', htu: `${HOME}:8443/a%20b`, iat: START / 1000,
  });
  assert.equal(Buffer.from(claims.jti, 'base64url').length, 16);
});

it('a proof with a token and a nonce; no two are the same', async () => {
  const key = await ProofKey.open('a');
  const ask = { method: 'GET', url: `${HOME}/`, token: 'secret-1', nonce: 'n"1' };
  const seen = await Promise.all([key.prove(ask), key.prove(ask)].map(async (proof) => read(await proof)));
  for (const { claims } of seen) {
    assert.equal(claims.ath, sha256('secret-1'));
    assert.equal(claims.nonce, 'n"1');
    assert.equal(claims.htu, `${HOME}/`);
  }
  assert.equal(new Set(seen.map(({ claims }) => claims.jti)).size, 2);
  assert.equal(new Set(seen.map(({ x }) => x)).size, 1);
});

// ── The key ──

const publicKey = async (key) => (await read(await key.prove({ method: 'GET', url: HOME }))).x;

it('the key is stored, cannot be exported, and is found again', async (w) => {
  const first = await ProofKey.open('a');
  const [[name, { privateKey }]] = w.database.rows;
  assert.equal(name, 'a');
  assert.equal(privateKey.extractable, false);
  await assert.rejects(crypto.subtle.exportKey('jwk', privateKey));
  assert.equal(await publicKey(await ProofKey.open('a')), await publicKey(first));
  assert.notEqual(await publicKey(await ProofKey.open('b')), await publicKey(first));
  assert.equal(w.database.open, 0, 'a connection is left');
});

it('tabs that open it at once get one key', async (w) => {
  const keys = await Promise.all(Array.from({ length: 5 }, () => ProofKey.open('a')));
  assert.equal(new Set(await Promise.all(keys.map(publicKey))).size, 1);
  assert.equal(w.database.rows.size, 1);
});

it('the first to write wins', async (w) => {
  const { database } = w;
  const other = await crypto.subtle.generateKey(P256, false, ['sign', 'verify']);
  database.beforeWrite = () => database.rows.set('a', other);
  const { x } = await crypto.subtle.exportKey('jwk', other.publicKey);
  assert.equal(await publicKey(await ProofKey.open('a')), x);
});

it('a key that is held is put back into a database that lost it', async (w) => {
  const first = await ProofKey.open('a');
  w.database.rows.clear();
  const [x] = await Promise.all([publicKey(first), ProofKey.open('a', first)]);
  assert.equal(await publicKey(await ProofKey.open('a')), x);
});

it('a key that is stored counts more than one that is held', async (w) => {
  const held = await ProofKey.open('a');
  w.database.rows.clear();
  const x = await publicKey(await ProofKey.open('a'));
  assert.equal(await publicKey(await ProofKey.open('a', held)), x);
});

table('without a database the key is in memory', [['refused', 'open'], ['full', 'add']], async (w, failing) => {
  w.database.failing = failing;
  const own = new Proofs('a');
  const keys = await Promise.all([own.key(), own.key()]);
  const again = await own.key();
  assert.equal(new Set(await Promise.all([...keys, again].map(publicKey))).size, 1);
  assert.notEqual(await publicKey(await new Proofs('a').key()), await publicKey(again));
});

itPlain('the same where there is none at all', async () => {
  Object.defineProperty(globalThis, 'indexedDB', { value: undefined, configurable: true });
  const own = new Proofs('a');
  assert.equal(await publicKey(await own.key()), await publicKey(await own.key()));
});

it('a database that hangs is waited for 5 s; what is stored there is not passed over', async (w) => {
  w.database.failing = 'hang';
  const s = w.tab({ dpop: true });
  w.routes['/auth/refresh'] = () => bound(w);
  const refresh = watch(s.refresh());
  await w.advance(10_500);
  code('unavailable')(refresh.error);
  assert.equal(w.calls.length, 0);
  assert.equal(s.state.status, 'unknown');
  w.database.failing = null;
  await s.refresh();
  assert.equal(s.state.status, 'signed-in');
  w.database.failing = 'hang';
  const again = watch(s.refresh());
  await w.advance(6000);
  await until(() => again.value);
  assert.ok(again.value, 'the key in memory will do');
});

// ── A session ──

it('the constructor makes no key; without `dpop` there is none', async (w) => {
  w.tab({ dpop: true });
  w.routes['/auth/refresh'] = () => w.issued();
  const plain = w.tab();
  await plain.refresh();
  await plain.fetch(`${HOME}/api`);
  assert.equal(w.database.opened, 0);
  assert.ok(w.calls.every(({ proof }) => proof === null));
});

it('a page without WebCrypto', (w) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true });
  try {
    assert.throws(() => new Session({ dpop: true }), TypeError);
    w.tab();
  } finally {
    Object.defineProperty(globalThis, 'crypto', before);
  }
});

it('login, refresh, requests and logouts come with proofs by one key', async (w) => {
  const s = await signedIn(w);
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  w.routes['/auth/logout/others'] = () => new Response(null, { status: 204 });
  await s.refresh();
  await s.fetch(`${HOME}/api/a?q=1#f`, { method: 'PUT', body: 'x' });
  await s.fetch(`${HOME}/auth/sessions`);
  await s.logout({ scope: 'others' });
  await s.logout();
  const seen = await proofs(w.calls);
  assert.deepEqual(seen.map(({ claims: { htm, htu, ath } }) => [htm, htu, ath]), [
    ['POST', LOGIN, undefined],
    ['POST', `${HOME}/auth/refresh`, undefined],
    ['PUT', `${HOME}/api/a`, sha256('secret-2')],
    ['GET', `${HOME}/auth/sessions`, sha256('secret-2')],
    ['POST', `${HOME}/auth/logout/others`, sha256('secret-2')],
    ['POST', `${HOME}/auth/logout`, undefined],
  ]);
  assert.deepEqual(w.calls.map(({ token }) => token),
    [null, null, 'DPoP secret-2', 'DPoP secret-2', 'DPoP secret-2', null]);
  assert.equal(new Set(seen.map(({ x }) => x)).size, 1);
  assert.equal(new Set(seen.map(({ claims }) => claims.jti)).size, 6);
  assert.ok(seen.every(({ claims }) => claims.iat === START / 1000));
});

it('two tabs that sign in and refresh at once have one key', async (w) => {
  w.routes['/auth/login'] = () => bound(w);
  w.routes['/auth/refresh'] = () => bound(w);
  const [a, b] = [w.tab({ dpop: true }), w.tab({ dpop: true })];
  await Promise.allSettled([a.login({}), b.refresh()]);
  await a.refresh();
  assert.ok(w.calls.length >= 3);
  assert.equal(new Set((await proofs(w.calls)).map(({ x }) => x)).size, 1);
});

table('a token that is not bound is refused', [
  ['Bearer', { type: 'Bearer' }], ['no type', { type: undefined }], ['another', { type: 'mac' }],
], async (w, answer) => {
  w.routes['/auth/login'] = () => w.issued(answer);
  const s = w.tab({ dpop: true });
  await assert.rejects(s.login({}), code('failed', { status: 200 }));
  assert.equal(s.state.status, 'unknown');
  w.routes['/auth/login'] = () => bound(w);
  await s.login({});
  w.routes['/auth/refresh'] = () => w.issued(answer);
  await assert.rejects(s.refresh(), code('failed', { status: 200 }));
  assert.equal(s.state.status, 'signed-in', 'the session is kept');
  await s.fetch(`${HOME}/api`);
  assert.match(w.to('/api')[0].token, /^DPoP secret-/);
});

it('the token type is compared without case', async (w) => {
  w.routes['/auth/login'] = () => bound(w, { type: 'dpop' });
  assert.equal((await signedIn(w)).state.status, 'signed-in');
});

table('a request that is not the session\'s carries no proof', [
  ['another origin', 'https://other.example/api'], ['a login', LOGIN], ['data', 'data:text/plain,x'],
  ['an Authorization of the caller\'s', `${HOME}/api`, { authorization: 'Basic eDp5' }],
], async (w, url, headers) => {
  const s = await signedIn(w);
  w.routes[url] = () => challenge('use_dpop_nonce', nonce('n1'));
  await s.fetch(url, { headers });
  assert.equal(w.calls.length, 2);
  assert.equal(w.calls[1].proof, null);
});

it('nobody is signed in: neither token nor proof', async (w) => {
  w.routes['/auth/refresh'] = refusal;
  const s = w.tab({ dpop: true });
  await s.fetch(`${HOME}/api`);
  assert.deepEqual(w.to('/api').map(({ token, proof }) => [token, proof]), [[null, null]]);
});

it('a token is sent with the key it was asked for with, another key only with a new token', async (w) => {
  const s = await signedIn(w);
  // Another tab found the database empty and signed in, and this one has not heard of it.
  const other = await crypto.subtle.generateKey(P256, false, ['sign', 'verify']);
  w.database.rows.set(`session ${HOME}/auth`, other);
  await s.fetch(`${HOME}/api`);
  await s.refresh();
  await s.fetch(`${HOME}/api`);
  const [login, before, refresh, after] = await proofs(w.calls);
  assert.equal(before.x, login.x);
  assert.notEqual(refresh.x, login.x);
  assert.equal(after.x, refresh.x);
});

it('a logout while the proof is made: the request is not sent', async (w) => {
  const s = await signedIn(w);
  const request = watch(s.fetch(`${HOME}/api`));
  w.channels.values().next().value.onmessage({ data: 'signed-out' });
  await w.advance(0);
  await until(() => request.error);
  code('aborted')(request.error);
  assert.equal(w.to('/api').length, 0);
});

// ── Nonces ──

it('nonces are remembered by origin, from successes, too', async (w) => {
  const api = 'https://api.example';
  w.routes['/auth/login'] = () => bound(w, { headers: nonce('home-1') });
  const s = await signedIn(w, { origins: [HOME, api] });
  w.routes['/api'] = () => new Response('', { headers: nonce('home-2') });
  w.routes[`${api}/x`] = () => new Response('', { headers: nonce('api-1') });
  for (const url of [`${HOME}/api`, `${HOME}/api`, `${api}/x`, `${api}/x`]) await s.fetch(url);
  await s.refresh();
  assert.deepEqual(await nonces(w.calls), [undefined, 'home-1', 'home-2', undefined, 'api-1', 'home-2']);
});

table('asked for a nonce: once more at once', [['login', 'login'], ['refresh', 'refresh']], async (w, route) => {
  const s = w.tab({ dpop: true });
  let n = 0;
  w.routes[`/auth/${route}`] = () => ((n += 1) === 1 ? wantsNonce('n1') : bound(w));
  await s[route]({ email: 'ann' });
  assert.deepEqual(await nonces(w.calls), [undefined, 'n1']);
  assert.equal(w.calls[0].body, w.calls[1].body);
  assert.equal(s.types().length, 1);
});

table('asked again: not a third time', [['login', 'login'], ['refresh', 'refresh']], async (w, route) => {
  const s = w.tab({ dpop: true });
  let n = 0;
  w.routes[`/auth/${route}`] = () => wantsNonce(`n${n += 1}`);
  await assert.rejects(s[route]({}), code('failed', { status: 400 }));
  assert.equal(w.calls.length, 2);
});

it('asked without being told the nonce: that is the answer', async (w) => {
  const s = await signedIn(w);
  w.routes['/auth/refresh'] = () => json(400, { error: 'use_dpop_nonce' });
  await assert.rejects(s.refresh(), code('failed'));
  assert.equal(w.to('/auth/refresh').length, 1);
  w.routes['/auth/refresh'] = () => bound(w);
  w.routes['/api'] = () => challenge('use_dpop_nonce');
  assert.equal((await s.fetch(`${HOME}/api`)).status, 401);
  assert.equal(w.to('/api').length, 1);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('a resource that asks for a nonce gets the request once more, body and all, without a refresh', async (w) => {
  const s = await signedIn(w);
  let n = 0;
  w.routes['/api'] = () => ((n += 1) % 2 ? challenge('use_dpop_nonce', nonce(`n${n}`)) : new Response('ok'));
  const stream = new Blob(['streamed']).stream();
  assert.equal((await s.fetch(`${HOME}/api`, { method: 'POST', body: stream, duplex: 'half' })).status, 200);
  assert.equal((await s.fetch(`${HOME}/api`, { method: 'POST', body: 'text' })).status, 200);
  const calls = w.to('/api');
  assert.deepEqual(calls.map(({ body }) => body), ['streamed', 'streamed', 'text', 'text']);
  assert.deepEqual(await nonces(calls), [undefined, 'n1', 'n1', 'n3']);
  assert.equal(w.to('/auth/refresh').length, 0);
});

it('a resource that asks again gets it no third time', async (w) => {
  const s = await signedIn(w);
  let n = 0;
  w.routes['/api'] = () => challenge('use_dpop_nonce', nonce(`n${n += 1}`));
  assert.equal((await s.fetch(`${HOME}/api`)).status, 401);
  assert.equal(w.to('/api').length, 2);
  assert.equal(w.to('/auth/refresh').length, 0);
});

table('a nonce and a refresh: each once', [
  ['the nonce first', ['use_dpop_nonce', 'invalid_token'], ['secret-1', 'secret-1', 'secret-2']],
  ['the token first', ['invalid_token', 'use_dpop_nonce'], ['secret-1', 'secret-2', 'secret-2']],
], async (w, errors, tokens) => {
  const s = await signedIn(w);
  let n = 0;
  w.routes['/api'] = () => {
    const error = errors[n];
    n += 1;
    return error ? challenge(error, nonce(`n${n}`)) : new Response('ok');
  };
  const answer = await s.fetch(`${HOME}/api`, { method: 'POST', body: 'x' });
  assert.equal(answer.status, 200);
  const calls = w.to('/api');
  assert.deepEqual(calls.map(({ token }) => token), tokens.map((token) => `DPoP ${token}`));
  assert.deepEqual((await proofs(calls)).map(({ claims }) => claims.ath), tokens.map(sha256));
  assert.deepEqual(calls.map(({ body }) => body), ['x', 'x', 'x']);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('a logout with a token is asked for a nonce, too', async (w) => {
  const s = await signedIn(w);
  let n = 0;
  w.routes['/auth/logout/all'] = () => ((n += 1) === 1
    ? challenge('use_dpop_nonce', nonce('n1')) : new Response(null, { status: 204 }));
  await s.logout({ scope: 'everywhere' });
  assert.deepEqual(w.to('/auth/logout/all').map(({ token }) => token), ['DPoP secret-1', 'DPoP secret-1']);
  assert.equal(s.state.status, 'signed-out');
});

it('without `dpop` nobody is heard who asks for a nonce', async (w) => {
  w.routes['/auth/login'] = () => wantsNonce('n1');
  await assert.rejects(w.tab().login({}), code('failed', { status: 400 }));
  assert.equal(w.calls.length, 1);
});

// ── Refused proofs ──

it('a refresh whose proof is refused does not end the session', async (w) => {
  const s = await signedIn(w);
  w.routes['/auth/refresh'] = () => json(400, { error: 'invalid_dpop_proof' });
  await assert.rejects(s.refresh(), code('failed', { status: 400 }));
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.equal(s.state.status, 'signed-in');
  assert.deepEqual(s.types(), ['refresh-failed']);
  w.routes['/auth/refresh'] = () => bound(w);
  await w.advance(1000);
  await until(() => s.types().length === 2);
  assert.deepEqual(s.types(), ['refresh-failed', 'refreshed']);
});

it('invalid_grant does, whatever the key', async (w) => {
  const s = await signedIn(w);
  w.routes['/auth/refresh'] = refusal;
  await assert.rejects(s.refresh(), code('ended'));
  assert.deepEqual(s.types(), ['ended']);
});

table('a clock that is wrong is found out by the service\'s', [
  ['an hour late', -3_600_000], ['an hour early', 3_600_000],
], async (w, off) => {
  w.wall += off;
  const at = () => ({ date: new Date(START + 999).toUTCString() });
  const good = async ({ proof }) => Math.abs((await read(proof)).claims.iat * 1000 - START) < 5000;
  w.routes['/auth/login'] = async (call) => (await good(call)
    ? bound(w, { headers: at() }) : json(400, { error: 'invalid_dpop_proof' }, at()));
  const s = await signedIn(w);
  assert.equal(w.calls.length, 2);
  await s.fetch(`${HOME}/api`);
  assert.ok(await good(w.calls[2]));
  // Set right meanwhile.
  w.wall -= off;
  w.routes['/auth/refresh'] = w.routes['/auth/login'];
  await s.refresh();
  assert.equal(w.to('/auth/refresh').length, 2);
});

it('a proof that was refused for another reason is not repeated', async (w) => {
  const date = { date: new Date(START).toUTCString() };
  w.routes['/auth/login'] = () => json(400, { error: 'invalid_dpop_proof' }, date);
  await assert.rejects(w.tab({ dpop: true }).login({}), code('failed'));
  assert.equal(w.calls.length, 1);
});

table('how far the service\'s clock is ahead', [
  ['cut to the second', -999, 0, 0], ['a slow answer', -8000, 9000, 0], ['behind', -60_000, 0, -60_000],
  ['ahead', 60_000, 0, 59_001], ['behind, and slow', -60_000, 9000, -51_000],
], async (w, date, took, ahead) => {
  const own = new Proofs('a');
  const headers = new Headers({ date: new Date(START + 999 + date).toUTCString() });
  w.wall = START + 999;
  own.heardTime(headers, w.wall - took);
  const { claims } = await read(await own.prove(await own.key(), { method: 'GET', url: HOME }));
  assert.equal(claims.iat, Math.floor((w.wall + ahead) / 1000));
});

// ── The rest ──

it('nothing secret is to be seen anywhere', async (w) => {
  const s = await signedIn(w);
  w.routes['/auth/refresh'] = () => w.issued();
  const errors = [];
  await s.refresh().catch((error) => errors.push(error));
  const seen = inspect([s, s.state, s.events, errors, w.posted], { depth: 9, showHidden: true });
  assert.equal(errors.length, 1);
  assert.ok(!/secret|CryptoKey/.test(seen), seen);
});

it('close while the key is looked up: nothing is sent', async (w) => {
  w.routes['/auth/refresh'] = never;
  const s = w.tab({ dpop: true });
  const refresh = watch(s.refresh());
  s.close();
  await until(() => refresh.error);
  code('aborted')(refresh.error);
  assert.equal(w.calls.length, 0);
  await w.advance(10_000);
  assert.equal(w.timers.size, 0);
});
