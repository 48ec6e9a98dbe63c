// A browser made of fakes, for the tests of session.js: clocks, timers, fetch, locks, channels and events are all under
// the tests' control. Two `Session`s in one `World` are two tabs of one browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Session, SessionError } from '../../examples/demo/session.js';

export const HOME = 'https://app.example';
export const START = Date.UTC(2030, 0, 1);
export const MINUTE = 60_000;
export const DAY = 86_400_000;
export const NOTHING = { user: null, expiresAt: null, lifetime: null, refreshAt: null };
const { setImmediate } = globalThis;

// Long enough for everything that waits for promises only.
export async function settle() {
  for (let i = 0; i < 12; i += 1) await new Promise((resolve) => { setImmediate(resolve); });
}

// Of this page's origin the path only.
export const place = (url) => (url.startsWith(`${HOME}/`) ? url.slice(HOME.length) : url).split(/[?#]/)[0];

class World {
  wall = START;
  mono = 1000;
  timers = new Map();
  delays = [];
  calls = [];
  routes = {};
  posted = [];
  channels = new Set();
  held = new Map();
  lockRequests = 0;
  reported = [];
  random = 0;
  tokens = 0;
  sessions = [];
  deaf = false; // whether answers arrive in spite of an abort, like those that have been read already
  #undo = [];

  constructor({ locks = true, channel = true, home = HOME, indexedDB } = {}) {
    const page = new EventTarget();
    this.document = Object.assign(new EventTarget(), { baseURI: `${home}/page`, visibilityState: 'visible' });
    this.page = page;
    this.#set('location', { href: `${home}/page`, origin: home });
    this.#set('document', this.document);
    this.#set('addEventListener', page.addEventListener.bind(page));
    this.#set('navigator', locks ? { locks: { request: this.#lock.bind(this) } } : {});
    this.#set('BroadcastChannel', channel ? this.#channel() : undefined);
    this.#set('fetch', this.#fetch.bind(this));
    this.#set('reportError', (error) => this.reported.push(error));
    this.#set('setTimeout', this.#setTimeout.bind(this));
    this.#set('clearTimeout', (id) => this.timers.delete(id));
    for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) {
      this.#define(globalThis, name, { get() { throw new Error(`${name} was touched`); } });
    }
    if (indexedDB) this.#set('indexedDB', indexedDB);
    this.#define(performance, 'now', { value: () => this.mono });
    this.#define(Date, 'now', { value: () => this.wall });
    this.#define(Math, 'random', { value: () => this.random });
    this.#define(AbortSignal, 'timeout', {
      value: (ms) => {
        const controller = new AbortController();
        setTimeout(() => controller.abort(new DOMException('too slow', 'TimeoutError')), ms);
        return controller.signal;
      },
    });
  }

  #set(name, value) { this.#define(globalThis, name, { value, writable: true }); }

  #define(target, name, descriptor) {
    const before = Object.getOwnPropertyDescriptor(target, name);
    this.#undo.push(() => (before ? Object.defineProperty(target, name, before) : delete target[name]));
    Object.defineProperty(target, name, { configurable: true, ...descriptor });
  }

  restore() {
    for (const session of this.sessions) session.close();
    for (const undo of this.#undo.reverse()) undo();
  }

  // ── Time: like a browser's, too long a timer fires at once ──

  #setTimeout(run, delay = 0) {
    assert.ok(!Number.isNaN(delay) && delay >= 0, `timer of ${delay}`);
    this.delays.push(delay);
    const id = Symbol('timer');
    this.timers.set(id, { run, at: this.mono + (delay > 2 ** 31 - 1 ? 1 : delay) });
    return id;
  }

  async advance(ms) {
    await settle();
    const end = this.mono + ms;
    for (;;) {
      const [next] = [...this.timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at);
      if (!next) break;
      const [id, { run, at }] = next;
      this.timers.delete(id);
      this.wall += at - this.mono;
      this.mono = at;
      run();
      await settle();
    }
    this.wall += end - this.mono;
    this.mono = end;
    await settle();
  }

  // Neither timers nor the monotonic clock run while the device sleeps.
  sleep(ms) { this.wall += ms; }

  // ── Network ──

  async #fetch(input, init = {}) {
    const request = input instanceof Request ? input : null;
    const url = request ? request.url : String(input);
    const headers = request?.headers ?? new Headers(init.headers);
    const call = {
      url,
      request,
      init,
      method: request?.method ?? init.method,
      token: headers.get('authorization'),
      proof: headers.get('dpop'),
      body: request ? await request.text() : init.body,
      at: this.wall,
    };
    const signal = request?.signal ?? init.signal;
    signal?.throwIfAborted();
    this.calls.push(call);
    const route = this.routes[place(url)] ?? (() => new Response('', { status: 200 }));
    if (this.deaf) return route(call);
    return Promise.race([
      Promise.resolve().then(() => route(call)),
      new Promise((_, reject) => { signal?.addEventListener('abort', () => reject(signal.reason)); }),
    ]);
  }

  to(path) { return this.calls.filter(({ url }) => place(url) === path); }

  issued({ user = { name: 'ann' }, life = 300, token = `secret-${this.tokens += 1}`, type = 'Bearer', headers } = {}) {
    return json(200, { access_token: token, token_type: type, expires_in: life, user }, headers);
  }

  // ── Other tabs ──

  #lock(name, options, work) {
    this.lockRequests += 1;
    const queue = this.held.get(name) ?? [];
    this.held.set(name, queue);
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const next = () => {
        queue.shift();
        queue[0]?.grant();
      };
      const entry = {
        grant: () => {
          entry.granted = true;
          Promise.resolve().then(() => work({ name })).then(resolve, reject).finally(next);
        },
      };
      signal?.throwIfAborted();
      signal?.addEventListener('abort', () => {
        if (entry.granted) return;
        queue.splice(queue.indexOf(entry), 1);
        reject(signal.reason);
      });
      queue.push(entry);
      if (queue.length === 1) entry.grant();
    });
  }

  #channel() {
    const world = this;
    return class {
      constructor(name) {
        this.name = name;
        world.channels.add(this);
      }

      postMessage(data) {
        assert.ok(world.channels.has(this), 'posted to a closed channel');
        world.posted.push(data);
        for (const other of world.channels) {
          if (other !== this && other.name === this.name) queueMicrotask(() => other.onmessage?.({ data }));
        }
      }

      close() { world.channels.delete(this); }
    };
  }

  // ── The session ──

  tab(options) {
    const session = new Session(options);
    const events = [];
    session.onChange((change) => events.push(change));
    this.sessions.push(session);
    const types = () => events.map(({ type, elsewhere }) => type + (elsewhere ? '*' : ''));
    return Object.assign(session, { events, types });
  }

  async signedIn(options) {
    this.routes['/auth/login'] ??= () => this.issued();
    this.routes['/auth/refresh'] ??= () => this.issued();
    const session = this.tab(options);
    await session.login({});
    session.events.length = 0;
    return session;
  }
}

export const json = (status, body, headers) => new Response(JSON.stringify(body), { status, headers });
export const refusal = () => json(401, { error: 'invalid_grant' });
export const outage = (after) => json(503, { error: 'unavailable' }, after ? { 'retry-after': String(after) } : {});
export const offline = () => { throw new TypeError('Failed to fetch'); };
export const never = () => new Promise(() => {});
export const bearerOnly = (...good) => ({ token }) => new Response(token, { status: good.includes(token) ? 200 : 401 });
export const code = (expected, more = {}) => (error) => {
  assert.ok(error instanceof SessionError, `not a SessionError: ${inspect(error)}`);
  assert.equal(error.code, expected);
  for (const [key, value] of Object.entries(more)) assert.equal(error[key], value, key);
  return true;
};

// An answer given by hand.
export function byHand() {
  const waiting = [];
  const route = () => new Promise((resolve) => { waiting.push(resolve); });
  return Object.assign(route, { answer: (response) => waiting.shift()(response) });
}

// A request that reports its outcome without anybody waiting for it.
export function watch(promise) {
  const seen = {};
  promise.then((value) => { seen.value = value; }, (error) => { seen.error = error; });
  return seen;
}

export function it(name, options, body = options) {
  test(name, async () => {
    const world = new World(typeof options === 'object' ? options : {});
    try {
      await body(world);
    } finally {
      world.restore();
    }
  });
}

export function table(name, rows, body) {
  for (const [title, ...row] of rows) it(`${name}: ${title}`, (world) => body(world, ...row));
}
