// The rules of session.js, one by one, against the fakes of world.mjs. Two `Session`s in one test are two tabs.
//
//   node --test tests/browser/session.test.mjs

import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { Session } from '../../examples/demo/session.js';
import {
  DAY, HOME, MINUTE, NOTHING, START, bearerOnly, byHand, code, it, json, never, offline, outage, place, refusal, settle,
  table, watch,
} from './world.mjs';

// ── Start ──

it('the constructor sends nothing', async (w) => {
  const s = w.tab();
  await w.advance(DAY);
  w.page.dispatchEvent(new Event('focus'));
  w.page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  await settle();
  assert.equal(w.calls.length, 0);
  assert.deepEqual({ ...s.state }, { ...NOTHING, status: 'unknown' });
});

it('a refresh at page load finds the session', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  const s = w.tab();
  assert.deepEqual(await s.refresh(), { name: 'ann' });
  assert.deepEqual(s.types(), ['refreshed']);
  const [call] = w.calls;
  assert.equal(call.method, 'POST');
  assert.equal(call.body, undefined);
  assert.equal(call.token, null);
  assert.equal(call.init.credentials, 'same-origin');
  assert.equal(call.init.redirect, 'error');
});

it('a refresh at page load finds nobody', async (w) => {
  w.routes['/auth/refresh'] = refusal;
  const s = w.tab();
  await assert.rejects(s.refresh(), code('ended', { status: 401 }));
  assert.equal(s.state.status, 'signed-out');
  assert.deepEqual(s.types(), ['ended']);
  await assert.rejects(s.refresh(), code('ended'));
  assert.deepEqual(s.types(), ['ended'], 'nothing changed the second time');
});

it('an outage at page load: asked again by itself', async (w) => {
  w.routes['/auth/refresh'] = () => outage();
  const s = w.tab();
  await assert.rejects(s.refresh(), code('unavailable'));
  assert.equal(s.state.status, 'unknown');
  w.routes['/auth/refresh'] = () => w.issued();
  await w.advance(1000);
  assert.equal(s.state.status, 'signed-in');
});

it('a base of another origin: credentials are included, and it may be sent the token', async (w) => {
  w.routes['https://id.example/x/auth/refresh'] = () => w.issued();
  const s = w.tab({ base: new URL('https://id.example/x/auth/?a#b') });
  await s.refresh();
  assert.equal(w.calls[0].init.credentials, 'include');
  await s.fetch('https://id.example/x/auth/sessions');
  await s.fetch(`${HOME}/api`);
  assert.deepEqual(w.calls.slice(1).map(({ token }) => token), ['Bearer secret-1', 'Bearer secret-1']);
});

table('an origin that could never match is refused', [
  ['with a slash', 'https://api.example/'], ['upper case', 'https://API.example'], ['empty', ''], ['null', 'null'],
  ['default port', 'https://api.example:443'], ['a scheme that is no server', 'file://'],
], (w, origin) => {
  assert.throws(() => new Session({ origins: [origin] }), TypeError);
});

// ── One refresh ──

it('50 callers, one refresh', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  const s = w.tab();
  await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? s.refresh() : s.fetch(`${HOME}/api`))));
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.ok(w.to('/api').every(({ token }) => token === 'Bearer secret-1'));
});

it('50 requests answered 401 make one refresh, and each is sent twice', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = bearerOnly('Bearer secret-2');
  const answers = await Promise.all(Array.from({ length: 50 }, () => s.fetch(`${HOME}/api`)));
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.equal(w.to('/api').length, 100);
});

it('tabs refresh one after the other', async (w) => {
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  const [a, b] = [w.tab(), w.tab()];
  const both = Promise.all([a.refresh(), b.refresh()]);
  await settle();
  assert.equal(w.to('/auth/refresh').length, 1);
  route.answer(w.issued());
  await settle();
  assert.equal(w.to('/auth/refresh').length, 2);
  route.answer(w.issued());
  await both;
});

it('tabs with different bases do not wait for each other, nor hear each other', async (w) => {
  w.routes['/auth/refresh'] = never;
  w.routes['/other/refresh'] = () => w.issued();
  w.routes['/other/logout'] = () => new Response(null, { status: 204 });
  const [a, b] = [w.tab(), w.tab({ base: '/other' })];
  a.refresh().catch(() => {});
  await b.refresh();
  await b.logout();
  await settle();
  assert.equal(b.state.status, 'signed-out');
  assert.deepEqual(a.types(), []);
});

it('a lock that is never released is waited for 5 s, then the refresh goes on', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  const s = w.tab();
  navigator.locks.request(`session ${HOME}/auth`, {}, never).catch(() => {});
  const seen = watch(s.refresh());
  await w.advance(4900);
  assert.equal(w.calls.length, 0);
  await w.advance(200);
  assert.deepEqual(seen.value, { name: 'ann' });
});

it('the same for login and logout', async (w) => {
  w.routes['/auth/login'] = () => w.issued();
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const s = w.tab();
  navigator.locks.request(`session ${HOME}/auth`, {}, never).catch(() => {});
  const login = watch(s.login({}));
  await w.advance(5100);
  assert.ok(login.value);
  watch(s.logout());
  await w.advance(5100);
  assert.equal(s.state.status, 'signed-out');
});

it('a lock is not held for longer than two attempts', async (w) => {
  w.routes['/auth/refresh'] = never;
  const [a, b] = [w.tab(), w.tab({ base: '/auth' })];
  watch(a.refresh());
  await w.advance(18_100);
  w.routes['/auth/refresh'] = () => w.issued();
  await b.refresh();
  assert.equal(b.state.status, 'signed-in');
});

it('locks that are refused to this document are done without', async (w) => {
  navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));
  w.routes['/auth/refresh'] = () => w.issued();
  assert.ok(await w.tab().refresh());
});

it('without locks and channels', { locks: false, channel: false }, async (w) => {
  const s = await w.signedIn();
  await s.refresh();
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  await s.logout();
  assert.deepEqual(s.types(), ['refreshed', 'signed-out']);
});

// ── Time ──

table('when the next refresh is due', [
  ['5 minutes, no jitter', 300, 0, 240_000],
  ['5 minutes, all jitter', 300, 1, 210_000],
  ['1 hour, no jitter', 3600, 0, 3_540_000],
  ['1 hour, all jitter', 3600, 1, 3_480_000],
  ['10 s', 10, 0, 8000],
  ['1 s: not faster than once a second', 1, 0, 1000],
  ['a thousandth: the same', 0.001, 0, 1000],
], async (w, life, random, due) => {
  w.random = random;
  w.routes['/auth/login'] = () => w.issued({ life });
  const s = await w.signedIn();
  assert.equal(s.state.refreshAt - START, due);
  assert.equal(s.state.expiresAt - START, life * 1000);
  assert.equal(s.state.lifetime, life * 1000);
  await w.advance(due - 1);
  assert.equal(w.to('/auth/refresh').length, 0);
  await w.advance(1);
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.deepEqual(s.types().slice(0, 1), ['refreshed']);
});

it('life is counted from when the request was sent', async (w) => {
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  const s = w.tab();
  watch(s.refresh());
  await w.advance(8000);
  route.answer(w.issued());
  await settle();
  assert.equal(s.state.expiresAt, START + 300_000);
});

it('after a lost answer life is counted from the second request', async (w) => {
  let n = 0;
  w.routes['/auth/refresh'] = () => ((n += 1) === 1 ? never() : w.issued());
  const s = w.tab();
  watch(s.refresh());
  await w.advance(9000);
  assert.equal(s.state.expiresAt, START + 309_000);
});

it('60 days: no timer is long, and none fires early', async (w) => {
  w.routes['/auth/login'] = () => w.issued({ life: 60 * 86_400 });
  await w.signedIn();
  await w.advance(DAY);
  assert.equal(w.to('/auth/refresh').length, 0);
  assert.ok(Math.max(...w.delays) <= MINUTE);
});

table('a lifetime that is none is refused', [
  ['zero', 0], ['negative', -5], ['null', null], ['a string', '300'], ['missing', undefined], ['endless', 1e308],
  ['not a number', 'NaN'],
], async (w, life) => {
  w.routes['/auth/refresh'] = () => json(200, { access_token: 'secret-1', expires_in: life, user: {} });
  const s = w.tab();
  await assert.rejects(s.refresh(), code('failed', { status: 200 }));
  assert.equal(s.state.status, 'unknown');
});

table('after a sleep the clock is compared anew', [
  ['visibilitychange', (w) => w.document.dispatchEvent(new Event('visibilitychange'))],
  ['pageshow', (w) => w.page.dispatchEvent(new Event('pageshow'))],
  ['online', (w) => w.page.dispatchEvent(new Event('online'))],
  ['focus', (w) => w.page.dispatchEvent(new Event('focus'))],
  ['a timer', (w) => w.advance(MINUTE)],
], async (w, wake) => {
  const s = await w.signedIn();
  w.sleep(DAY);
  await wake(w);
  await settle();
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.equal(s.state.status, 'signed-in');
});

it('a request after a sleep is not sent with the old token', async (w) => {
  const s = await w.signedIn();
  w.sleep(DAY);
  await s.fetch(`${HOME}/api`);
  assert.deepEqual(w.to('/api').map(({ token }) => token), ['Bearer secret-2']);
});

it('a wall clock set back does not keep a token alive', async (w) => {
  const s = await w.signedIn();
  w.sleep(-DAY);
  await w.advance(241_000);
  assert.equal(w.to('/auth/refresh').length, 1);
  w.routes['/auth/refresh'] = offline;
  w.sleep(-DAY);
  await w.advance(301_000);
  await assert.rejects(s.fetch(`${HOME}/api`), code('unavailable'));
});

it('a wall clock set back does not stretch the back-off', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = offline;
  await assert.rejects(s.refresh(), code('unavailable'));
  w.routes['/auth/refresh'] = () => w.issued();
  w.sleep(-DAY);
  await w.advance(MINUTE);
  assert.deepEqual(s.types(), ['refresh-failed', 'refreshed']);
});

it('a wall clock set forward costs one refresh', async (w) => {
  await w.signedIn();
  w.sleep(DAY);
  await w.advance(2 * MINUTE);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('a page from the back/forward cache lets its token go and asks', async (w) => {
  const s = await w.signedIn();
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  w.page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  const seen = watch(s.fetch(`${HOME}/api`));
  await settle();
  assert.equal(w.to('/api').length, 0);
  assert.equal(s.state.status, 'signed-in');
  route.answer(w.issued());
  await settle();
  assert.equal(seen.value.status, 200);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-2');
});

// ── Failures ──

it('no answer: given up after 9 s, asked again at once, once', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = never;
  const seen = watch(s.refresh());
  await w.advance(8900);
  assert.equal(w.to('/auth/refresh').length, 1);
  await w.advance(100);
  assert.equal(w.to('/auth/refresh').length, 2);
  await w.advance(9000);
  code('timeout')(seen.error);
  assert.equal(w.to('/auth/refresh').length, 2);
  assert.deepEqual(s.types(), ['refresh-failed']);
  assert.equal(s.events[0].error, seen.error);
  assert.equal(s.state.status, 'signed-in');
});

it('a lost connection: asked again at once', async (w) => {
  const s = await w.signedIn();
  let n = 0;
  w.routes['/auth/refresh'] = () => ((n += 1) === 1 ? offline() : w.issued());
  await s.refresh();
  assert.deepEqual(w.to('/auth/refresh').map(({ at }) => at), [START, START]);
  assert.deepEqual(s.types(), ['refreshed']);
});

it('an answer cut off in its body: asked again at once', async (w) => {
  const s = await w.signedIn();
  let n = 0;
  const cut = () => new Response(new ReadableStream({ start: (c) => c.error(new TypeError('terminated')) }));
  w.routes['/auth/refresh'] = () => ((n += 1) === 1 ? cut() : w.issued());
  await s.refresh();
  assert.equal(n, 2);
});

table('the session is kept', [
  ['503', () => outage(), 'unavailable', 503, 1],
  ['500', () => json(500, {}), 'unavailable', 500, 1],
  ['502 in HTML', () => new Response('<h1>', { status: 502 }), 'unavailable', 502, 1],
  ['no connection', offline, 'unavailable', undefined, 2],
  ['403 cross_site', () => json(403, { error: 'cross_site' }), 'failed', 403, 1],
  ['401 in HTML', () => new Response('<h1>', { status: 401 }), 'failed', 401, 1],
  ['401 otherwise', () => json(401, { error: 'login_required' }), 'failed', 401, 1],
  ['403 invalid_grant', () => json(403, { error: 'invalid_grant' }), 'failed', 403, 1],
  ['400 otherwise', () => json(400, { error: 'invalid_request' }), 'failed', 400, 1],
  ['403 in HTML', () => new Response('invalid_grant', { status: 403 }), 'failed', 403, 1],
  ['404', () => json(404, { error: 'invalid_grant' }), 'failed', 404, 1],
  ['429', () => json(429, {}, { 'retry-after': '7' }), 'failed', 429, 1],
  ['204', () => new Response(null, { status: 204 }), 'failed', 204, 1],
  ['garbage', () => new Response('secret-9 {'), 'failed', 200, 1],
  ['null', () => new Response('null'), 'failed', 200, 1],
  ['no token', () => json(200, { expires_in: 300, user: {} }), 'failed', 200, 1],
  ['a token that fits no header', (w) => w.issued({ token: 'secret\nx' }), 'failed', 200, 1],
], async (w, route, expected, status, calls) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = () => route(w);
  await assert.rejects(s.refresh(), code(expected, { status }));
  assert.equal(w.to('/auth/refresh').length, calls);
  assert.equal(s.state.status, 'signed-in');
  assert.deepEqual(s.types(), ['refresh-failed']);
  assert.deepEqual(w.posted, ['signed-in']);
  await s.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-1', 'the token is good for as long as it is');
});

table('the session is over', [
  ['401 invalid_grant', refusal],
  ['400 invalid_grant', () => json(400, { error: 'invalid_grant' })],
], async (w, route) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = route;
  await assert.rejects(s.refresh(), code('ended'));
  assert.equal(w.to('/auth/refresh').length, 1);
  assert.deepEqual({ ...s.state }, { ...NOTHING, status: 'signed-out' });
  assert.deepEqual(s.types(), ['ended']);
  await w.advance(DAY);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('back-off doubles from 1 s to 60 s', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = () => outage();
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    await s.refresh().catch(() => {});
    waits.push(s.state.refreshAt - w.wall);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  w.random = 1;
  await s.refresh().catch(() => {});
  assert.equal(s.state.refreshAt - w.wall, 30_000, 'jitter');
});

it('the back-off is kept to, and begins anew after a success', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = () => outage();
  await s.refresh().catch(() => {});
  await w.advance(7500);
  assert.deepEqual(w.to('/auth/refresh').map(({ at }) => at - START), [0, 1000, 3000, 7000]);
  w.routes['/auth/refresh'] = () => w.issued();
  await s.refresh();
  w.routes['/auth/refresh'] = () => outage();
  await s.refresh().catch(() => {});
  assert.equal(s.state.refreshAt - w.wall, 1000);
});

table('Retry-After', [
  ['seconds', '30', 30, 30_000],
  ['a date', new Date(START + 20_000).toUTCString(), 20, 20_000],
  ['a date that has passed', new Date(START - 20_000).toUTCString(), 0, 0],
  ['a day is capped at 5 minutes', '86400', 86_400, 300_000],
  ['nonsense', 'soon', undefined, 0],
], async (w, header, retryAfter, least) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = () => outage(header);
  await assert.rejects(s.refresh(), code('unavailable', { retryAfter }));
  assert.equal(s.state.refreshAt - START, least + 1000);
  w.page.dispatchEvent(new Event('online'));
  await settle();
  assert.equal(w.to('/auth/refresh').length, least ? 1 : 2, 'being online does not overrule it');
});

it('online: asked again at once', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = offline;
  for (let i = 0; i < 5; i += 1) await s.refresh().catch(() => {});
  w.routes['/auth/refresh'] = () => w.issued();
  w.page.dispatchEvent(new Event('online'));
  await settle();
  assert.deepEqual(s.types().slice(-1), ['refreshed']);
});

// ── Session.fetch ──

table('a request that is not the session\'s goes out as it is', [
  ['another origin', 'https://other.example/api'],
  ['another port', 'https://app.example:8443/api'],
  ['a subdomain', 'https://api.app.example/api'],
  ['a longer host', 'https://app.example.evil.example/api'],
  ['http', 'http://app.example/api'],
  ['a trailing dot', 'https://app.example./api'],
  ['the origin in the path', 'https://other.example/https://app.example/api'],
  ['a backslash', 'https://other.example\\@app.example/api'],
], async (w, url) => {
  const s = await w.signedIn();
  w.routes[new URL(url).href] = () => new Response('', { status: 401 });
  const answer = await s.fetch(url, { method: 'POST', body: 'x', headers: { a: 'b' } });
  assert.equal(answer.status, 401);
  assert.equal(w.calls.length, 2, 'no refresh, no second try');
  assert.equal(w.calls[1].token, null);
  assert.equal(w.calls[1].body, 'x');
  assert.equal(w.calls[1].request.headers.get('a'), 'b');
});

it('user@host is no way around it', async (w) => {
  const s = await w.signedIn();
  await s.fetch('https://app.example@other.example/api').catch((error) => assert.ok(error instanceof TypeError));
  assert.ok(w.calls.slice(1).every(({ token }) => token === null));
});

it('an address that reads differently the second time gets no token', async (w) => {
  const s = await w.signedIn();
  let n = 0;
  const input = { toString: () => ((n += 1) === 1 ? 'https://other.example/api' : `${HOME}/api`) };
  await s.fetch(input);
  n = 1;
  await s.fetch({ toString: () => ((n += 1) === 2 ? `${HOME}/api` : 'https://other.example/api') });
  for (const { url, token } of w.calls.slice(1)) assert.equal(token !== null, url.startsWith(HOME), url);
});

it('blob: and data: get no token', async (w) => {
  const s = await w.signedIn();
  await s.fetch('data:text/plain,x');
  await s.fetch(`blob:${HOME}/6f1c`);
  assert.ok(w.calls.slice(1).every(({ token }) => token === null));
});

it('a page without an origin of its own', async (w) => {
  Object.assign(globalThis.location, { href: 'about:srcdoc', origin: 'null' });
  w.routes['https://id.example/auth/refresh'] = () => w.issued();
  const s = w.tab({ base: 'https://id.example/auth' });
  await s.refresh();
  await s.fetch('data:text/plain,x');
  await s.fetch('https://id.example/api');
  assert.deepEqual(w.calls.map(({ token }) => token), [null, null, 'Bearer secret-1']);
});

it('origins given replace the default ones', async (w) => {
  const s = await w.signedIn({ origins: ['https://api.example'] });
  await s.fetch('https://api.example/x');
  await s.fetch(`${HOME}/api`);
  assert.deepEqual(w.calls.slice(1).map(({ token }) => token), ['Bearer secret-1', null]);
});

it('the caller\'s Authorization is kept, and nothing is refreshed for it', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = () => new Response('', { status: 401 });
  await s.fetch(`${HOME}/api`, { headers: { Authorization: 'Basic eDp5' } });
  await s.fetch(new Request(`${HOME}/api`, { headers: { authorization: 'Basic eDp5' } }));
  assert.deepEqual(w.to('/api').map(({ token }) => token), ['Basic eDp5', 'Basic eDp5']);
  assert.equal(w.to('/auth/refresh').length, 0);
});

table('the session\'s own requests never cause a refresh', [
  ['login', '/login'], ['refresh', '/refresh'],
  ['logout', '/logout'], ['all', '/logout/all'], ['others', '/logout/others'],
  ['with a query', '/refresh?x=1#y'],
], async (w, path) => {
  w.routes[`/auth${path}`.split('?')[0]] = () => new Response('', { status: 401 });
  const s = w.tab();
  const answer = await s.fetch(`${HOME}/auth${path}`, { method: 'POST' });
  assert.equal(answer.status, 401);
  assert.equal(w.calls.length, 1);
  assert.equal(w.calls[0].token, null);
});

it('401: once more with a new token, and the body again', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = bearerOnly('Bearer secret-2');
  const answer = await s.fetch(`${HOME}/api?q`, { method: 'PUT', body: 'the body', headers: { a: 'b' } });
  assert.equal(answer.status, 200);
  assert.equal(w.to('/auth/refresh').length, 1);
  const seen = w.to('/api').map(({ method, body, token, url, request }) => (
    [method, body, token, url, request.headers.get('a')]));
  assert.deepEqual(seen, ['Bearer secret-1', 'Bearer secret-2'].map((token) => (
    ['PUT', 'the body', token, `${HOME}/api?q`, 'b'])));
});

it('401: a body that is a stream, and a Request, are sent again', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = bearerOnly('Bearer secret-2');
  const stream = new Blob(['streamed']).stream();
  await s.fetch(`${HOME}/api`, { method: 'POST', body: stream, duplex: 'half' });
  w.routes['/api'] = bearerOnly('Bearer secret-3');
  await s.fetch(new Request(`${HOME}/api`, { method: 'POST', body: 'request' }));
  assert.deepEqual(w.to('/api').map(({ body }) => body), ['streamed', 'streamed', 'request', 'request']);
});

it('401 again: that is the answer', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = () => new Response('no', { status: 401 });
  const answer = await s.fetch(`${HOME}/api`);
  assert.equal(answer.status, 401);
  assert.equal(await answer.text(), 'no');
  assert.equal(w.to('/api').length, 2);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('403 and others are not retried', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = () => new Response('', { status: 403 });
  assert.equal((await s.fetch(`${HOME}/api`)).status, 403);
  assert.equal(w.calls.length, 2);
});

it('401 that asks for another login (RFC 9470): that is the answer', async (w) => {
  const s = await w.signedIn();
  const challenge = 'Bearer realm="api", error="insufficient_user_authentication", max_age="300"';
  w.routes['/api'] = () => new Response('', { status: 401, headers: { 'www-authenticate': challenge } });
  assert.equal((await s.fetch(`${HOME}/api`)).status, 401);
  assert.equal(w.to('/api').length, 1);
  assert.equal(w.to('/auth/refresh').length, 0);
});

it('401 to an old token: the newer one is used without another refresh', async (w) => {
  const s = await w.signedIn();
  const slow = byHand();
  w.routes['/api'] = slow;
  const seen = watch(s.fetch(`${HOME}/api`));
  await settle();
  await s.refresh();
  w.routes['/api'] = bearerOnly('Bearer secret-2');
  slow.answer(new Response('', { status: 401 }));
  await settle();
  assert.equal(seen.value.status, 200);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('a used body is fetch\'s own error', async (w) => {
  const s = await w.signedIn();
  const request = new Request(`${HOME}/api`, { method: 'POST', body: 'x' });
  await request.text();
  await assert.rejects(s.fetch(request), TypeError);
  await assert.rejects(s.fetch('https://:'), TypeError);
});

it('signed out: sent without a token, and the 401 is the answer', async (w) => {
  w.routes['/auth/refresh'] = refusal;
  w.routes['/api'] = bearerOnly();
  const s = w.tab();
  assert.equal((await s.fetch(`${HOME}/api`)).status, 401);
  assert.equal((await s.fetch(`${HOME}/api`)).status, 401);
  assert.deepEqual(w.calls.map(({ url, token }) => [place(url), token]),
    [['/auth/refresh', null], ['/api', null], ['/api', null]]);
});

it('no connection for the refresh before: rejected, nothing sent', async (w) => {
  w.routes['/auth/refresh'] = offline;
  const s = w.tab();
  await assert.rejects(s.fetch(`${HOME}/api`), code('unavailable'));
  assert.equal(w.to('/api').length, 0);
});

table('a refresh that fails after a 401: the 401 is the answer', [
  ['no connection', offline, 'signed-in'], ['503', outage, 'signed-in'], ['ended', refusal, 'signed-out'],
], async (w, route, status) => {
  const s = await w.signedIn();
  w.routes['/api'] = () => new Response('mine', { status: 401 });
  w.routes['/auth/refresh'] = () => route();
  const answer = await s.fetch(`${HOME}/api`);
  assert.equal(answer.status, 401);
  assert.equal(await answer.text(), 'mine');
  assert.equal(w.to('/api').length, 1);
  assert.equal(s.state.status, status);
});

it('a network error of the request itself is the caller\'s', async (w) => {
  const s = await w.signedIn();
  w.routes['/api'] = offline;
  await assert.rejects(s.fetch(`${HOME}/api`), TypeError);
  assert.equal(w.to('/api').length, 1);
});

it('the caller\'s abort works while waiting for a refresh, which goes on for the others', async (w) => {
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  const s = w.tab();
  const controller = new AbortController();
  const mine = watch(s.fetch(`${HOME}/api`, { signal: controller.signal }));
  const other = watch(s.fetch(`${HOME}/other`));
  await settle();
  controller.abort(new Error('enough'));
  await settle();
  assert.equal(mine.error.message, 'enough');
  assert.equal(other.error, undefined);
  route.answer(w.issued());
  await settle();
  assert.equal(other.value.status, 200);
  assert.equal(w.to('/api').length, 0);
});

it('the same while waiting after a 401', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = byHand();
  w.routes['/api'] = bearerOnly();
  const controller = new AbortController();
  const mine = watch(s.fetch(`${HOME}/api`, { signal: controller.signal }));
  await settle();
  controller.abort(new Error('enough'));
  await settle();
  assert.equal(mine.error.message, 'enough');
});

it('aborted before it began: nothing is sent', async (w) => {
  const s = w.tab();
  await assert.rejects(s.fetch(`${HOME}/api`, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
  assert.equal(w.calls.length, 0);
});

// ── Login and logout ──

it('login: the credentials as JSON, the user as result', async (w) => {
  w.routes['/auth/login'] = () => w.issued({ user: { name: 'bob' } });
  const s = w.tab();
  assert.deepEqual(await s.login({ email: 'b', password: 'p' }), { name: 'bob' });
  assert.deepEqual(s.types(), ['signed-in']);
  const [call] = w.calls;
  assert.deepEqual(JSON.parse(call.body), { email: 'b', password: 'p' });
  assert.equal(new Headers(call.init.headers).get('content-type'), 'application/json');
  assert.equal(call.init.redirect, 'error');
});

table('a login that fails', [
  ['wrong credentials', () => json(401, { error: 'invalid_credentials' }), 'credentials', { status: 401 }],
  ['too many', () => json(429, {}, { 'retry-after': '60' }), 'failed', { status: 429, retryAfter: 60 }],
  ['outage', () => outage(5), 'unavailable', { status: 503, retryAfter: 5 }],
  ['no connection', offline, 'unavailable', { status: undefined }],
  ['garbage', () => new Response('secret-7'), 'failed', { status: 200 }],
], async (w, route, expected, more) => {
  const s = await w.signedIn();
  w.routes['/auth/login'] = route;
  await assert.rejects(s.login({}), code(expected, more));
  assert.equal(w.to('/auth/login').length, 2, 'never sent twice');
  assert.equal(s.state.status, 'signed-in');
  assert.deepEqual(s.types(), []);
  await s.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-1');
});

it('login: given up after 15 s', async (w) => {
  w.routes['/auth/login'] = never;
  const seen = watch(w.tab().login({}));
  await w.advance(14_900);
  assert.equal(seen.error, undefined);
  await w.advance(100);
  code('timeout')(seen.error);
});

it('login during a refresh: the login stays', async (w) => {
  const s = await w.signedIn();
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  const refresh = watch(s.refresh());
  await settle();
  w.routes['/auth/login'] = () => w.issued({ user: { name: 'bob' } });
  await s.login({});
  route.answer(w.issued({ user: { name: 'ann' } }));
  await settle();
  code('aborted')(refresh.error);
  assert.deepEqual(s.state.user, { name: 'bob' });
  assert.deepEqual(s.types(), ['signed-in']);
  await s.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-2');
  w.routes['/auth/login'] = () => json(401, {});
  await s.login({}).catch(() => {});
  await settle();
  assert.equal(w.to('/auth/refresh').length, 1, 'there is nothing to make up for');
});

it('a refresh answered in the same moment as a login begins writes nothing', async (w) => {
  const s = await w.signedIn();
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  const refresh = watch(s.refresh());
  await settle();
  w.routes['/auth/login'] = () => w.issued({ user: { name: 'bob' } });
  const login = s.login({});
  route.answer(w.issued({ user: { name: 'ann' } }));
  await login;
  await settle();
  code('aborted')(refresh.error);
  assert.deepEqual(s.state.user, { name: 'bob' });
  assert.deepEqual(s.types(), ['signed-in']);
});

it('of two logins the later one counts', { locks: false }, async (w) => {
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/login'] = route;
  const s = w.tab();
  const first = watch(s.login({}));
  await settle();
  const second = watch(s.login({}));
  await settle();
  route.answer(w.issued({ user: { name: 'ann' } }));
  route.answer(w.issued({ user: { name: 'bob' } }));
  await settle();
  code('aborted')(first.error);
  assert.deepEqual(second.value, { name: 'bob' });
  assert.deepEqual(s.types(), ['signed-in']);
});

it('a refresh asked for during a login waits for it and takes its result', async (w) => {
  const route = byHand();
  w.routes['/auth/login'] = route;
  const s = w.tab();
  const login = watch(s.login({}));
  const refresh = watch(s.refresh());
  await settle();
  route.answer(w.issued());
  await settle();
  assert.deepEqual([login.value, refresh.value], [{ name: 'ann' }, { name: 'ann' }]);
  assert.equal(w.to('/auth/refresh').length, 0);
});

it('a login that fails after it cut off a refresh: refreshed at once', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = never;
  watch(s.refresh());
  await settle();
  w.routes['/auth/refresh'] = () => w.issued();
  w.routes['/auth/login'] = () => json(401, {});
  await assert.rejects(s.login({}), code('credentials'));
  await settle();
  assert.equal(w.to('/auth/refresh').length, 2);
  assert.deepEqual(s.types(), ['refreshed']);
});

it('a request of the old user is not repeated as the new one', async (w) => {
  const s = await w.signedIn();
  const slow = byHand();
  w.routes['/api'] = slow;
  const seen = watch(s.fetch(`${HOME}/api`, { method: 'POST', body: 'pay' }));
  await settle();
  await s.login({});
  slow.answer(new Response('', { status: 401 }));
  await settle();
  assert.equal(seen.value.status, 401);
  assert.equal(w.to('/api').length, 1);
});

it('a request that waits for the old user\'s refresh is not sent as the new one', async (w) => {
  w.routes['/auth/refresh'] = never;
  w.routes['/auth/login'] = () => w.issued();
  const s = w.tab();
  const seen = watch(s.fetch(`${HOME}/api`));
  await settle();
  await s.login({});
  await settle();
  code('aborted')(seen.error);
  assert.equal(w.to('/api').length, 0);
});

it('logout', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  await s.logout();
  assert.deepEqual({ ...s.state }, { ...NOTHING, status: 'signed-out' });
  assert.deepEqual(s.types(), ['signed-out']);
  await s.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, null);
  await w.advance(DAY);
  assert.equal(w.to('/auth/refresh').length, 0);
});

table('logout by scope', [
  ['this', 'this', '/auth/logout', null, 'signed-out'],
  ['everywhere', 'everywhere', '/auth/logout/all', 'Bearer secret-1', 'signed-out'],
  ['others', 'others', '/auth/logout/others', 'Bearer secret-1', 'signed-in'],
], async (w, scope, path, token, status) => {
  const s = await w.signedIn();
  w.routes[path] = () => new Response(null, { status: 204 });
  await s.logout({ scope });
  assert.deepEqual(w.to(path).map((call) => [call.method, call.token]), [['POST', token]]);
  assert.equal(s.state.status, status);
  assert.deepEqual(s.types(), status === 'signed-out' ? ['signed-out'] : []);
  assert.deepEqual(w.posted, status === 'signed-out' ? ['signed-in', 'signed-out'] : ['signed-in']);
});

it('logout everywhere with a token past its time, or refused: the cookie will do', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = () => outage();
  w.routes['/auth/logout/others'] = ({ token }) => new Response(null, { status: token ? 401 : 204 });
  await s.logout({ scope: 'others' });
  w.sleep(DAY);
  await s.logout({ scope: 'others' });
  assert.deepEqual(w.to('/auth/logout/others').map(({ token }) => token), ['Bearer secret-1', null, null]);
});

it('an unknown scope is a mistake', async (w) => {
  const s = await w.signedIn();
  await assert.rejects(s.logout({ scope: 'toString' }), TypeError);
  assert.equal(w.calls.length, 1);
});

table('a logout that fails leaves all as it was', [
  ['503', () => outage(3), 'unavailable', { status: 503, retryAfter: 3 }],
  ['no connection', offline, 'unavailable', {}],
  ['403', () => json(403, { error: 'cross_site' }), 'failed', { status: 403 }],
], async (w, route, expected, more) => {
  const s = await w.signedIn();
  const before = s.state;
  w.routes['/auth/logout'] = route;
  await assert.rejects(s.logout(), code(expected, more));
  assert.deepEqual(s.state, before);
  assert.deepEqual(s.types(), []);
  assert.deepEqual(w.posted, ['signed-in']);
  await s.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-1');
  await w.advance(241_000);
  assert.deepEqual(s.types(), ['refreshed'], 'the schedule goes on');
});

// Without locks, since a deaf request would hold the lock.
it('a refresh that is answered after a logout writes nothing', { locks: false }, async (w) => {
  const s = await w.signedIn();
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const refresh = watch(s.refresh());
  await settle();
  await s.logout();
  route.answer(w.issued());
  await settle();
  code('aborted')(refresh.error);
  assert.equal(s.state.status, 'signed-out');
  assert.deepEqual(s.types(), ['signed-out']);
});

it('a logout that is answered after a login ends nothing', { locks: false }, async (w) => {
  const s = await w.signedIn();
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/logout'] = route;
  const logout = watch(s.logout());
  await settle();
  await s.login({});
  route.answer(new Response(null, { status: 204 }));
  await settle();
  code('aborted')(logout.error);
  assert.equal(s.state.status, 'signed-in');
});

it('a request answered 401 after a logout causes no refresh', async (w) => {
  const s = await w.signedIn();
  const slow = byHand();
  w.routes['/api'] = slow;
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const seen = watch(s.fetch(`${HOME}/api`));
  await settle();
  await s.logout();
  slow.answer(new Response('', { status: 401 }));
  await settle();
  assert.equal(seen.value.status, 401);
  assert.equal(w.to('/auth/refresh').length, 0);
});

it('a refresh that fails while signed out is not repeated', async (w) => {
  w.routes['/auth/refresh'] = refusal;
  const s = w.tab();
  await s.refresh().catch(() => {});
  w.routes['/auth/refresh'] = () => outage();
  await assert.rejects(s.refresh(), code('unavailable'));
  assert.equal(s.state.refreshAt, null);
  await w.advance(DAY);
  assert.equal(w.calls.length, 2);
});

it('a login that is answered after a logout writes nothing', { locks: false }, async (w) => {
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/login'] = route;
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const s = w.tab();
  const login = watch(s.login({}));
  await settle();
  await s.logout();
  route.answer(w.issued());
  await settle();
  code('aborted')(login.error);
  assert.equal(s.state.status, 'signed-out');
});

it('a refresh refused while a login is under way ends nothing', async (w) => {
  const s = await w.signedIn();
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  watch(s.refresh());
  await settle();
  const login = s.login({});
  route.answer(refusal());
  await login;
  await settle();
  assert.deepEqual(s.types(), ['signed-in']);
});

// ── Other tabs ──

it('signed out elsewhere', async (w) => {
  const [a, b] = [await w.signedIn(), await w.signedIn()];
  await settle();
  a.events.length = 0;
  b.events.length = 0;
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  await a.logout();
  await settle();
  assert.deepEqual([a.types(), b.types()], [['signed-out'], ['signed-out*']]);
  assert.equal(b.state.status, 'signed-out');
  await b.fetch(`${HOME}/api`);
  assert.equal(w.to('/api')[0].token, null);
  await a.logout();
  await settle();
  assert.deepEqual([a.types(), b.types()], [['signed-out'], ['signed-out*']], 'nothing changed the second time');
  new BroadcastChannel(`session ${HOME}/auth`).postMessage('ended');
  await w.advance(DAY);
  assert.equal(w.to('/auth/refresh').length, 1, 'only the one after the second login');
});

it('signed out elsewhere during a refresh, which writes nothing', { locks: false }, async (w) => {
  const s = await w.signedIn();
  w.deaf = true;
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  watch(s.refresh());
  await settle();
  new BroadcastChannel(`session ${HOME}/auth`).postMessage('signed-out');
  await settle();
  route.answer(w.issued());
  await settle();
  assert.equal(s.state.status, 'signed-out');
  assert.deepEqual(s.types(), ['signed-out*']);
});

table('a login under way is not disturbed', [
  ['signed out elsewhere', (w, channel) => channel.postMessage('signed-out')],
  ['signed in elsewhere', (w, channel) => channel.postMessage('signed-in')],
  ['ended elsewhere', (w, channel) => channel.postMessage('ended')],
  ['back from the cache', (w) => w.page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }))],
  ['a timer', (w) => w.advance(10_000)],
], async (w, disturb) => {
  w.routes['/auth/login'] = () => w.issued({ life: 10 });
  const s = await w.signedIn();
  const route = byHand();
  w.routes['/auth/login'] = route;
  const login = watch(s.login({}));
  await settle();
  await disturb(w, new BroadcastChannel(`session ${HOME}/auth`));
  await settle();
  assert.equal(login.error, undefined);
  assert.equal(w.to('/auth/refresh').length, 0);
  route.answer(w.issued({ user: { name: 'bob' } }));
  await settle();
  assert.deepEqual(login.value, { name: 'bob' });
  assert.deepEqual(s.state.user, { name: 'bob' });
  assert.equal(w.to('/auth/refresh').length, 0);
});

it('back from the cache during a login that fails: asked afterwards', async (w) => {
  const s = await w.signedIn();
  const route = byHand();
  w.routes['/auth/login'] = route;
  watch(s.login({}));
  await settle();
  w.page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  route.answer(json(401, {}));
  await settle();
  assert.deepEqual(s.types(), ['refreshed']);
});

it('signed in elsewhere: the old token is dropped at once, then the new user is asked for', async (w) => {
  const b = await w.signedIn();
  w.document.visibilityState = 'hidden';
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  w.routes['/auth/login'] = () => w.issued({ user: { name: 'bob' } });
  const a = w.tab();
  await a.login({});
  await settle();
  assert.equal(b.state.user, null);
  assert.equal(b.state.status, 'unknown');
  const seen = watch(b.fetch(`${HOME}/api`));
  await settle();
  assert.equal(w.to('/api').length, 0);
  route.answer(w.issued({ user: { name: 'bob' } }));
  await settle();
  assert.deepEqual(b.types(), ['signed-in*']);
  assert.deepEqual(b.state.user, { name: 'bob' });
  assert.equal(seen.value.status, 200);
  assert.equal(w.to('/api')[0].token, 'Bearer secret-3');
  assert.deepEqual(a.types(), ['signed-in']);
});

it('signed in elsewhere, then an outage: still told in the end', async (w) => {
  const b = await w.signedIn();
  w.routes['/auth/refresh'] = () => outage();
  await w.tab().login({});
  await settle();
  assert.deepEqual(b.types(), ['refresh-failed']);
  w.routes['/auth/refresh'] = () => w.issued({ user: { name: 'bob' } });
  await w.advance(1000);
  assert.deepEqual(b.types(), ['refresh-failed', 'signed-in*']);
  await b.refresh();
  assert.deepEqual(b.types(), ['refresh-failed', 'signed-in*', 'refreshed']);
});

it('signed in elsewhere while a request is under way: not repeated as the new user', async (w) => {
  const b = await w.signedIn();
  const slow = byHand();
  w.routes['/api'] = slow;
  const seen = watch(b.fetch(`${HOME}/api`, { method: 'POST', body: 'pay' }));
  await settle();
  await w.tab().login({});
  await settle();
  slow.answer(new Response('', { status: 401 }));
  await settle();
  assert.equal(seen.value.status, 401);
  assert.equal(w.to('/api').length, 1);
});

it('signed in elsewhere during a refresh: its answer is the old user\'s', async (w) => {
  const b = await w.signedIn();
  const route = byHand();
  w.routes['/auth/refresh'] = route;
  watch(b.refresh());
  await settle();
  const a = w.tab();
  watch(a.login({}));
  await w.advance(5100);
  route.answer(w.issued({ user: { name: 'ann' } }));
  route.answer(w.issued({ user: { name: 'bob' } }));
  await settle();
  assert.deepEqual(b.state.user, { name: 'bob' });
  assert.deepEqual(b.types(), ['signed-in*']);
});

it('signed in elsewhere during a login that fails', async (w) => {
  const b = await w.signedIn();
  const route = byHand();
  navigator.locks.request = (name, options, work) => work();
  w.routes['/auth/login'] = route;
  const login = watch(b.login({}));
  await settle();
  w.routes['/auth/login'] = () => w.issued();
  w.routes['/auth/refresh'] = () => w.issued({ user: { name: 'bob' } });
  await w.tab().login({});
  await settle();
  assert.equal(b.state.user, null);
  route.answer(json(401, {}));
  await settle();
  code('credentials')(login.error);
  assert.deepEqual(b.types(), ['signed-in*']);
  assert.deepEqual(b.state.user, { name: 'bob' });
});

it('ended elsewhere: every tab asks for itself, and says so once', async (w) => {
  const tabs = [];
  w.routes['/auth/refresh'] = () => w.issued();
  for (let i = 0; i < 3; i += 1) tabs.push(w.tab());
  await Promise.all(tabs.map((tab) => tab.refresh()));
  w.routes['/auth/refresh'] = refusal;
  w.calls.length = 0;
  await tabs[0].refresh().catch(() => {});
  await settle();
  assert.deepEqual(tabs.map((tab) => tab.types().slice(1)), [['ended'], ['ended*'], ['ended*']]);
  assert.equal(w.calls.length, 3);
  assert.deepEqual(w.posted, ['ended']);
});

it('ended elsewhere, but not here: this session goes on', async (w) => {
  const s = await w.signedIn();
  const other = new BroadcastChannel(`session ${HOME}/auth`);
  other.postMessage('ended');
  await settle();
  assert.deepEqual(s.types(), ['refreshed']);
  other.postMessage({ type: 'signed-out' });
  other.postMessage('constructor');
  await settle();
  assert.equal(s.state.status, 'signed-in');
});

it('a refresh answered for somebody else is a sign-in elsewhere', { channel: false }, async (w) => {
  const jwt = (sub, n) => `secret.${Buffer.from(JSON.stringify({ sub, n })).toString('base64url')}.x`;
  w.routes['/auth/refresh'] = () => w.issued({ token: jwt('eve', 0) });
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const fresh = w.tab();
  await fresh.refresh();
  await fresh.logout();
  w.routes['/auth/refresh'] = () => w.issued({ token: jwt('dan', 0) });
  await fresh.refresh();
  assert.deepEqual(fresh.types(), ['refreshed', 'signed-out', 'refreshed'], 'there was nobody before');
  fresh.close();
  w.routes['/auth/login'] = () => w.issued({ token: jwt('ann', 1) });
  w.routes['/auth/refresh'] = () => w.issued({ token: jwt('ann', 2) });
  w.routes['/api'] = bearerOnly();
  const s = await w.signedIn();
  await s.fetch(`${HOME}/api`);
  assert.deepEqual(s.types(), ['refreshed']);
  assert.equal(w.to('/api').length, 2);
  w.routes['/auth/refresh'] = () => w.issued({ token: jwt('bob', 3), user: { name: 'bob' } });
  assert.equal((await s.fetch(`${HOME}/api`, { method: 'POST', body: 'pay' })).status, 401);
  assert.equal(w.to('/api').length, 3, 'not repeated as bob');
  assert.deepEqual(s.types(), ['refreshed', 'signed-in*']);
  w.sleep(DAY);
  w.routes['/auth/refresh'] = () => w.issued({ token: jwt('ann', 4) });
  await assert.rejects(s.fetch(`${HOME}/api`), code('aborted'));
  assert.equal(w.to('/api').length, 3);
});

// ── The rest ──

it('nothing secret is to be seen anywhere', async (w) => {
  const jwt = `secret.${Buffer.from('{"sub":"ann"}').toString('base64url')}.secret`;
  w.routes['/auth/login'] = () => w.issued({ token: jwt });
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const s = await w.signedIn();
  const errors = [];
  for (const route of [
    () => new Response('secret-1 {'), () => new Response('{"access_token":"secret-1'), outage, offline,
    () => json(200, { access_token: 'secret\n1', expires_in: 300 }), () => json(418, { access_token: 'secret-1' }),
    () => w.issued(), refusal,
  ]) {
    w.routes['/auth/refresh'] = () => route();
    await s.refresh().catch((error) => errors.push(error));
    await s.logout({ scope: 'others' }).catch((error) => errors.push(error));
    assert.ok(!inspect([s.state, s, Object.entries(s)], { depth: 9, showHidden: true }).includes('secret'));
    assert.ok(!JSON.stringify([s, s.state]).includes('secret'));
  }
  assert.equal(errors.length, 7);
  const plain = new Session();
  assert.equal(JSON.stringify(plain), '{}');
  plain.close();
  for (const error of errors) {
    assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes('secret'));
    assert.equal(error.cause, undefined);
  }
  assert.ok(!inspect(s.events, { depth: 9, showHidden: true }).includes('secret'));
  await s.login({});
  await s.logout();
  assert.ok(w.posted.length >= 4);
  assert.ok(w.posted.every((word) => ['signed-in', 'signed-out', 'ended'].includes(word)));
});

it('listeners that throw break nothing and are reported', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  const s = w.tab();
  const seen = [];
  s.onChange(() => { throw new Error('mine'); });
  const stop = s.onChange(({ type }) => seen.push(type));
  await s.refresh();
  assert.deepEqual(w.reported.map(({ message }) => message), ['mine']);
  stop();
  await s.refresh();
  assert.deepEqual(seen, ['refreshed']);
});

it('a listener may call the session', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  w.routes['/auth/logout'] = () => new Response(null, { status: 204 });
  const s = w.tab();
  const calls = [];
  s.onChange(({ type }) => { if (type === 'refreshed') calls.push(s.refresh(), s.logout()); });
  await s.refresh();
  await Promise.allSettled(calls);
  assert.deepEqual(s.types(), ['refreshed', 'signed-out']);
  assert.equal(w.to('/auth/refresh').length, 1);
});

it('states and changes are snapshots', async (w) => {
  const s = await w.signedIn();
  const before = s.state;
  await w.advance(1000);
  await s.refresh();
  assert.notEqual(before.expiresAt, s.state.expiresAt);
  assert.throws(() => { before.status = 'x'; }, TypeError);
  assert.throws(() => { s.events[0].type = 'x'; }, TypeError);
});

it('close stops everything', async (w) => {
  const s = await w.signedIn();
  w.routes['/auth/refresh'] = never;
  const refresh = watch(s.refresh());
  await settle();
  s.close();
  assert.deepEqual({ ...s.state }, { ...NOTHING, status: 'unknown' });
  await settle();
  code('aborted')(refresh.error);
  assert.equal(w.channels.size, 0);
  const sent = w.calls.length;
  for (const name of ['focus', 'online', 'pageshow']) w.page.dispatchEvent(new Event(name));
  w.document.dispatchEvent(new Event('visibilitychange'));
  await w.advance(DAY);
  assert.equal(w.calls.length, sent);
  await assert.rejects(s.refresh(), code('aborted'));
  await assert.rejects(s.login({}), code('aborted'));
  await assert.rejects(s.logout(), code('aborted'));
  await assert.rejects(s.fetch(`${HOME}/api`), code('aborted'));
  assert.deepEqual(s.types(), []);
});

it('close leaves no timer', async (w) => {
  const s = await w.signedIn();
  await w.advance(20_000);
  assert.equal(w.timers.size, 1);
  s.close();
  assert.equal(w.timers.size, 0);
});

it('close right after a refresh was asked for: no timer is left', async (w) => {
  w.routes['/auth/refresh'] = () => w.issued();
  const s = w.tab();
  watch(s.refresh());
  s.close();
  await w.advance(10 * MINUTE);
  assert.equal(w.timers.size, 0);
});
