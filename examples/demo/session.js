// The browser side of a session with tower-jwt-auth's AuthService. Two files, nothing to install: copy it and dpop.js
// (and session.d.ts, for types) into your application.
//
//   import { Session } from './session.js';
//   const session = new Session();                      // new Session({ base: 'https://id.example/auth' })
//   session.onChange(({ type, state }) => render(type, state));
//   session.refresh().catch(() => {});                  // at page load: is somebody still signed in?
//
//   const user = await session.login({ email, password });
//   const answer = await session.fetch('/api/orders');  // like fetch, with the access token
//   await session.logout();                             // or { scope: 'everywhere' | 'others' }
//
// With `new Session({ dpop: true })` the tokens are bound to a key of this browser's (RFC 9449), and of no use anywhere
// else. The service must be set up for it; what else there is to know is in dpop.js.
//
// Rules, where two of them disagree the earlier one wins:
//
//  1. The access token lives in this module's memory and is shown to nobody: no storage, no event, no state,
//     no error, no message to another tab. The refresh token is in a cookie that no script can read.
//  2. The token goes to the origins named and to no other, and nothing that was asked for as one user is sent
//     as another: after a login, a logout or an end, whatever was under way writes nothing back and is not repeated.
//  3. Only the server ends a session, by refusing a refresh with `invalid_grant`. Without an answer, or
//     with one that is not understood, the session is kept and asked for again later.
//  4. A lost answer is asked for again at once, once: the server answers a repeated refresh only for a while.
//  5. One refresh, login or logout at a time in this tab, and where the browser has Web Locks in all tabs. Locks
//     save requests; the server's rule for refreshes is correct without them, so waiting for one has a bound.
//  6. The token is renewed ahead of its end, earlier by a random bit so that tabs and devices do not come at
//     once. Times are compared, not waited for: timers stop in sleeping devices and are late in hidden tabs.
//  7. With `dpop`, a token that the service did not bind is refused. One that it did is sent with proofs by the key it
//     was asked for with, never by another: a new key needs a new login. Proofs go to the service and where the token
//     goes; that one of them was refused says nothing of the session.
//
// Nothing is sent before the first call of `refresh`, `fetch`, `login` or `logout`, unless another tab signs in.

import { Proofs, canProve } from './dpop.js';

const REFRESH_TIMEOUT = 9_000;    // the server's windows are sized for clients that give up here: do not raise
const TIMEOUT = 15_000;           // login and logout: someone is waiting, and nothing depends on the length
const LOCK_WAIT = 5_000;          // a frozen tab keeps its lock for as long as it is frozen
const LONGEST_TIMER = 60_000;     // also far below 2^31 ms, beyond which a timer fires at once
const SHORTEST_LIFE = 1_000;      // no faster than this, whatever lifetime the server names
const LONGEST_BACK_OFF = 60_000;
const LONGEST_RETRY_AFTER = 300;  // seconds; a mistaken header must not keep a tab signed out for a day
const MINUTE = 60_000;

const LOGOUT_PATHS = { this: '/logout', everywhere: '/logout/all', others: '/logout/others' };

const ignore = () => {};
const aborted = () => new SessionError('aborted', 'The session changed meanwhile.');

/** What every method rejects with, except for the caller's own abort reasons and mistakes. Holds no secrets. */
export class SessionError extends Error {
  constructor(code, message, { status, retryAfter } = {}) {
    super(message);
    this.name = 'SessionError';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class Session {
  #base;
  #origins;
  #credentials;
  #ownRequests;
  #name;                             // of the lock and of the channel: sessions of other bases are not concerned
  #proofs = null;                    // of the key, with `dpop`
  #channel = null;
  #listeners = new Set();
  #closing = new AbortController();  // removes the event listeners

  #status = 'unknown';
  #user = null;
  #token = null;                     // { value, key, wall, mono, lifetime, early }; see #adopt
  #subject = null;                   // whom the last token was for
  #epoch = 0;                        // counts who is signed in: requests of one epoch are not repeated in another

  #running = new AbortController();  // of the one refresh, login or logout under way
  #flight = null;                    // the promise of the refresh under way, shared by all callers
  #busy = null;                      // the promise of the login or logout under way
  #doubtful = false;                 // a refresh was cut off: the server may have given out a cookie we do not have
  #news = null;                      // what another tab said and a refresh has yet to confirm
  #failures = 0;
  #retry = null;                     // { at, wait, asked }: when to try again after a failed refresh
  #timer;

  constructor({ base = '/auth', origins, dpop = false } = {}) {
    const page = globalThis.document?.baseURI ?? globalThis.location?.href;
    const { origin, pathname } = new URL(base, page);
    const home = globalThis.location?.origin;
    this.#base = origin + pathname.replace(/\/+$/, '');
    this.#credentials = origin === home ? 'same-origin' : 'include';
    this.#name = `session ${this.#base}`;
    const paths = ['/login', '/refresh', ...Object.values(LOGOUT_PATHS)];
    this.#ownRequests = new Set(paths.map((path) => this.#base + path));
    for (const given of origins ?? []) {
      // 'https://api.example/' would never equal an origin, and be found out only by missing tokens.
      if (!given || webOrigin(given) !== given) throw new TypeError(`Not an origin: ${given}`);
    }
    this.#origins = new Set(origins ?? [home, origin]);
    if (dpop) {
      if (!canProve()) throw new TypeError('DPoP needs a page over https.');
      this.#proofs = new Proofs(this.#name);
    }

    const options = { signal: this.#closing.signal };
    const check = () => this.#check();
    globalThis.document?.addEventListener('visibilitychange', check, options);
    globalThis.addEventListener?.('focus', check, options);
    globalThis.addEventListener?.('pageshow', (event) => (event.persisted ? this.#thawed() : this.#check()), options);
    globalThis.addEventListener?.('online', () => {
      // Being back online says nothing about a server that asked for patience.
      if (this.#retry) this.#retry.at = Math.min(this.#retry.at, this.#retry.asked);
      this.#check();
    }, options);
    if (globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#heard(data);
    }
  }

  get state() {
    return Object.freeze({
      status: this.#status,
      user: this.#user,
      expiresAt: this.#token ? this.#token.wall + this.#token.lifetime : null,
      lifetime: this.#token?.lifetime ?? null,
      refreshAt: this.#due(),
    });
  }

  onChange(listener) {
    const entry = { listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  close() {
    this.#begin();
    this.#closing.abort();
    this.#channel?.close();
    this.#channel = null;
    this.#listeners.clear();
    this.#forget('unknown');
    clearTimeout(this.#timer);
  }

  async login(credentials) {
    return this.#exclusive(async (signal) => {
      const sent = clock();
      const answer = await this.#send('/login', { signal, json: credentials });
      signal.throwIfAborted();
      if (answer.status === 401) throw new SessionError('credentials', 'The sign-in was refused.', answer);
      const issued = read(answer);
      this.#epoch += 1;
      this.#adopt(issued, sent);
      this.#tell('signed-in'); // while the lock is held, so that a tab that waits for it hears of this first
      this.#emit('signed-in');
      return issued.user;
    });
  }

  async logout({ scope = 'this' } = {}) {
    if (!Object.hasOwn(LOGOUT_PATHS, scope)) throw new TypeError(`Unknown scope: ${scope}`);
    return this.#exclusive(async (signal) => {
      const path = LOGOUT_PATHS[scope];
      const token = scope !== 'this' && this.#good() ? this.#token : undefined;
      let answer = await this.#send(path, { signal, token });
      // The cookie may still do where the token is not accepted any more.
      if (answer.status === 401 && token) answer = await this.#send(path, { signal });
      signal.throwIfAborted();
      // The cookie is still good then: a page that claimed to be signed out would be wrong after a reload.
      if (answer.status !== 204 && answer.status !== 200) throw failure(answer);
      if (scope === 'others') return;
      this.#signedOut(false);
    });
  }

  async refresh() {
    return this.#renew();
  }

  async fetch(input, init) {
    const request = new Request(input, init);
    const [url] = request.url.split(/[?#]/);
    const plain = !this.#origins.has(webOrigin(url)) || this.#ownRequests.has(url);
    if (plain || request.headers.has('authorization')) return fetch(request);

    request.signal.throwIfAborted();
    const epoch = this.#epoch;
    this.#check();
    if (this.#status !== 'signed-out' && !this.#good()) {
      try {
        await unlessAborted(this.#renew(), request.signal);
      } catch (error) {
        // Nobody is signed in: the API says itself what it thinks of that.
        if (request.signal.aborted || error.code !== 'ended') throw error;
      }
      if (this.#token && this.#epoch !== epoch) throw aborted();
    }
    if (!this.#token) return fetch(request);

    // A body can be read once, so the copy for another try is made before each. `fetch` follows redirects itself, and
    // by the Fetch standard drops Authorization where one leads to another origin.
    let renewals = 1;
    let nonces = this.#proofs ? 1 : 0;
    for (let next = request; ;) {
      const token = this.#token;
      const spare = renewals + nonces > 0 ? next.clone() : null;
      const response = await this.#fetchWith(token, next, epoch);
      if (response.status !== 401 || this.#epoch !== epoch) return response;
      if (this.#proofs && problemOfProof(response, response) === 'use_dpop_nonce') {
        // No newer token would help. Without the nonce, its header is not shown to this origin.
        if (!nonces || !response.headers.has('dpop-nonce')) return response;
        nonces -= 1;
      } else {
        if (!renewals || asksForStepUp(response)) return response;
        renewals -= 1;
        try {
          // Another caller may have renewed the token while this one was on its way.
          if (this.#token === token || !this.#good()) await unlessAborted(this.#renew(), request.signal);
        } catch (error) {
          if (request.signal.aborted) throw error;
          return response; // it says as much as a failed refresh could
        }
      }
      if (this.#epoch !== epoch || !this.#token) return response;
      response.body?.cancel().catch(ignore);
      next = spare;
    }
  }

  async #fetchWith({ value, key }, request, epoch) {
    if (!this.#proofs) {
      request.headers.set('authorization', `Bearer ${value}`);
      return fetch(request);
    }
    const { method, url } = request;
    const proof = await this.#proofs.prove(key, { method, url, token: value });
    request.signal.throwIfAborted();
    // It was somebody else's turn while the proof was made.
    if (this.#epoch !== epoch || !this.#token) throw aborted();
    request.headers.set('authorization', `DPoP ${value}`);
    request.headers.set('dpop', proof);
    const response = await fetch(request);
    this.#proofs.heard(response.url || url, response.headers);
    return response;
  }

  // ── One at a time ────────────────────────────────────────────────────────────────────────────────────────────

  // Cuts off whatever is under way. An abandoned answer cannot set a cookie, but one already read is past
  // aborting: whoever has waited asks its signal again before it writes.
  #begin() {
    if (this.#flight) this.#doubtful = true;
    this.#flight = null;
    this.#running.abort(aborted());
    this.#running = new AbortController();
    return this.#running.signal;
  }

  // For login and logout. If they fail, all is as before, except that a refresh may have been cut off.
  #exclusive(work) {
    if (this.#closing.signal.aborted) throw aborted();
    const signal = this.#begin();
    const run = async () => {
      try {
        return await this.#locked(signal, () => work(signal));
      } finally {
        if (this.#running.signal === signal) {
          this.#busy = null;
          if ((this.#doubtful || this.#news) && this.#status !== 'signed-out') this.#renew();
          this.#arm();
        }
      }
    };
    this.#busy = run();
    return this.#busy;
  }

  #renew() {
    if (this.#closing.signal.aborted) return Promise.reject(aborted());
    if (this.#busy) return this.#renewAfter(this.#busy, this.#epoch);
    if (!this.#flight) {
      const flight = this.#refreshOnce(this.#begin()).finally(() => {
        if (this.#flight !== flight) return;
        this.#flight = null;
        this.#arm();
      });
      flight.catch(ignore); // the listeners have been told; who called has its own promise
      this.#flight = flight;
    }
    return this.#flight;
  }

  async #renewAfter(busy, epoch) {
    await busy.catch(ignore);
    if (this.#epoch === epoch || this.#status === 'unknown') return this.#renew();
    if (this.#status === 'signed-in') return this.#user;
    throw aborted();
  }

  async #locked(signal, work) {
    let held = false;
    try {
      if (globalThis.navigator?.locks) {
        const bound = AbortSignal.any([signal, AbortSignal.timeout(LOCK_WAIT)]);
        return await navigator.locks.request(this.#name, { signal: bound }, () => {
          held = true;
          return work();
        });
      }
    } catch (error) {
      if (held) throw error; // otherwise the wait was too long, or locks are not for this document
    }
    signal.throwIfAborted();
    return work();
  }

  // ── Requests to the service ──────────────────────────────────────────────────────────────────────────────────

  async #send(path, { signal, json, token, timeout = TIMEOUT }) {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const key = this.#proofs ? token?.key ?? await this.#key() : undefined;
    const limit = AbortSignal.timeout(timeout);
    const post = () => this.#post(path, { signal: AbortSignal.any([signal, limit]), body, token, key });
    try {
      const answer = await post();
      // At once, and once: with the nonce or the time that the answer has brought.
      return answer.proveAgain ? await post() : answer;
    } catch {
      signal.throwIfAborted();
      if (limit.aborted) throw new SessionError('timeout', 'The service took too long to answer.');
      throw new SessionError('unavailable', 'The service cannot be reached.');
    }
  }

  async #key() {
    try {
      return await this.#proofs.key();
    } catch {
      throw new SessionError('unavailable', 'The key of the session cannot be read.');
    }
  }

  async #post(path, { signal, body, token, key }) {
    const url = this.#base + path;
    const method = 'POST';
    const headers = {};
    if (token) headers.authorization = `${key ? 'DPoP' : 'Bearer'} ${token.value}`;
    if (key) headers.dpop = await this.#proofs.prove(key, { method, url, token: token?.value });
    if (body !== undefined) headers['content-type'] = 'application/json';
    signal.throwIfAborted();
    const sent = Date.now();
    const response = await fetch(url, {
      method,
      headers,
      body,
      credentials: this.#credentials,
      cache: 'no-store',
      redirect: 'error', // the service never redirects, and credentials must not follow whoever does
      signal,
    });
    const nonce = key && this.#proofs.heard(url, response.headers);
    const wasOff = key && this.#proofs.heardTime(response.headers, sent);
    const text = await response.text();
    const answer = { status: response.status, text, key, retryAfter: seconds(response.headers.get('retry-after')) };
    const problem = key && problemOfProof(answer, response);
    answer.proveAgain = (problem === 'use_dpop_nonce' && nonce) || (problem === 'invalid_dpop_proof' && wasOff);
    return answer;
  }

  async #refreshOnce(signal) {
    try {
      const { issued, sent } = await this.#locked(signal, () => this.#askTwice(signal));
      signal.throwIfAborted();
      this.#adoptRefreshed(issued, sent);
      return issued.user;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error.code === 'ended') this.#ended();
      else this.#failed(error);
      throw error;
    }
  }

  async #askTwice(signal) {
    for (let again = true; ; again = false) {
      const sent = clock();
      try {
        const answer = await this.#send('/refresh', { signal, timeout: REFRESH_TIMEOUT });
        if (refused(answer)) throw new SessionError('ended', 'The session has ended.', answer);
        return { issued: read(answer), sent };
      } catch (error) {
        const lost = error.code === 'timeout' || (error.code === 'unavailable' && error.status === undefined);
        if (!lost || !again) throw error;
      }
    }
  }

  // ── What is known ────────────────────────────────────────────────────────────────────────────────────────────

  // The life of a token is counted from when it was asked for, by this device's clocks only: that is never later
  // than the server's own count, however far the two clocks are apart.
  #adopt({ token, key, lifetime, user }, { wall, mono }) {
    const early = Math.ceil(Math.min(MINUTE, lifetime / 5) + Math.random() * Math.min(MINUTE, lifetime / 10));
    this.#token = { value: token, key, wall, mono, lifetime, early };
    this.#subject = subject(token);
    this.#user = user;
    this.#status = 'signed-in';
    this.#settle();
  }

  #adoptRefreshed(issued, sent) {
    const other = this.#subject !== null && this.#subject !== subject(issued.token);
    const news = other ? 'signed-in' : this.#news;
    // The cookie became somebody else's, and the word of it has not arrived here.
    if (other) this.#epoch += 1;
    this.#adopt(issued, sent);
    if (news === 'signed-in') this.#emit('signed-in', { elsewhere: true });
    else this.#emit('refreshed');
  }

  #forget(status) {
    this.#epoch += 1;
    this.#status = status;
    this.#token = null;
    this.#subject = null;
    this.#user = null;
    this.#settle();
  }

  #settle() {
    this.#doubtful = false;
    this.#news = null;
    this.#failures = 0;
    this.#retry = null;
  }

  #signedOut(elsewhere) {
    const known = this.#status === 'signed-out';
    this.#forget('signed-out');
    if (!elsewhere) this.#tell('signed-out');
    if (!known) this.#emit('signed-out', { elsewhere });
  }

  #ended() {
    const known = this.#status === 'signed-out';
    const elsewhere = this.#news !== null; // then the other tabs know already
    this.#forget('signed-out');
    if (known) return;
    if (!elsewhere) this.#tell('ended');
    this.#emit('ended', { elsewhere });
  }

  #failed(error) {
    if (this.#status !== 'signed-out') {
      const asked = Math.min(error.retryAfter ?? 0, LONGEST_RETRY_AFTER) * 1000;
      const step = Math.min(1000 * 2 ** this.#failures, LONGEST_BACK_OFF);
      const wait = asked + step * (1 - Math.random() / 2);
      this.#failures += 1;
      this.#retry = { at: Date.now() + wait, wait, asked: Date.now() + asked };
    }
    this.#emit('refresh-failed', { error });
  }

  // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────

  // A wall clock that was set back would keep a dead token looking good. The monotonic clock tells; alone it
  // would not do, since it may stand still while the device sleeps.
  #good() {
    const token = this.#token;
    if (!token) return false;
    const setBack = (performance.now() - token.mono) - (Date.now() - token.wall);
    if (setBack > 1000) token.wall -= setBack;
    return Date.now() < token.wall + token.lifetime;
  }

  #due() {
    if (this.#retry) return this.#retry.at;
    if (!this.#token) return null;
    return this.#token.wall + Math.max(this.#token.lifetime - this.#token.early, SHORTEST_LIFE);
  }

  // Called by timers and by everything that may follow a sleep.
  #check() {
    if (this.#closing.signal.aborted || this.#busy || this.#flight) return;
    this.#good();
    const due = this.#due();
    const now = Date.now();
    const setBack = this.#retry && now < this.#retry.at - this.#retry.wait;
    if (due !== null && (now >= due || setBack)) this.#renew();
    else this.#arm();
  }

  #arm() {
    clearTimeout(this.#timer);
    const due = this.#due();
    if (due === null || this.#closing.signal.aborted || this.#busy || this.#flight) return;
    this.#timer = setTimeout(() => this.#check(), Math.min(Math.max(due - Date.now(), 0), LONGEST_TIMER));
  }

  // ── Other tabs ───────────────────────────────────────────────────────────────────────────────────────────────

  #heard(type) {
    if (this.#closing.signal.aborted) return;
    if (type === 'signed-in') {
      // The cookie is now that of the new login, maybe of another user, so the token goes before anything else.
      if (!this.#busy) this.#begin();
      this.#forget('unknown');
      this.#news = 'signed-in';
      if (!this.#busy) this.#renew();
    } else if (type === 'signed-out') {
      if (!this.#busy) this.#begin();
      this.#signedOut(true);
    } else if (type === 'ended' && this.#status === 'signed-in') {
      this.#news = 'ended';
      if (!this.#busy) this.#renew();
    }
  }

  // A page that comes back from the back/forward cache has heard nothing meanwhile, and its token may be that of
  // the user before. The cookie tells.
  #thawed() {
    if (this.#status === 'unknown' && !this.#retry && !this.#flight) return;
    if (this.#busy) {
      this.#doubtful = true;
      return;
    }
    this.#begin();
    this.#token = null;
    this.#renew();
  }

  #tell(type) {
    this.#channel?.postMessage(type);
  }

  #emit(type, { elsewhere = false, error } = {}) {
    const change = Object.freeze({ type, elsewhere, state: this.state, ...(error && { error }) });
    for (const { listener } of [...this.#listeners]) {
      try {
        listener(change);
      } catch (thrown) {
        // A mistake in a listener is shown where mistakes are shown, and stops nothing here.
        if (globalThis.reportError) reportError(thrown);
        else queueMicrotask(() => { throw thrown; });
      }
    }
  }
}

const clock = () => ({ wall: Date.now(), mono: performance.now() });

// Of http and https only: those of all other schemes are 'null', or belong to what is no server.
function webOrigin(url) {
  const { protocol, origin } = URL.canParse(url) ? new URL(url) : {};
  return protocol === 'https:' || protocol === 'http:' ? origin : '';
}

// Retry-After is a number of seconds or a date.
function seconds(header) {
  if (!header) return undefined;
  const value = /^\d+$/.test(header) ? Number(header) : Math.ceil((Date.parse(header) - Date.now()) / 1000);
  return Number.isFinite(value) ? Math.max(value, 0) : undefined;
}

function parse({ text }) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {}; // without the reason: it would quote the text, and the token with it
  }
}

function read(answer) {
  if (answer.status !== 200) throw failure(answer);
  const { access_token: token, token_type: type, expires_in: life, user = null } = parse(answer);
  // A token that does not fit a header would be quoted by the error that says so.
  const usable = typeof token === 'string' && /^[\x21-\x7e]+$/.test(token);
  if (!usable || typeof life !== 'number' || !(life > 0) || !Number.isFinite(life * 1000)) {
    throw new SessionError('failed', 'The answer of the service is not understood.', answer);
  }
  // Anybody could use such a token.
  if (answer.key && String(type).toLowerCase() !== 'dpop') {
    throw new SessionError('failed', 'The service did not bind the token to the key.', answer);
  }
  return { token, key: answer.key, lifetime: life * 1000, user };
}

// A 401 of something in between, a proxy that wants a login of its own, says nothing of the session.
const refused = (answer) => (answer.status === 401 || answer.status === 400)
  && parse(answer).error === 'invalid_grant';

function failure(answer) {
  if (answer.status >= 500) return new SessionError('unavailable', 'The service cannot answer right now.', answer);
  return new SessionError('failed', `The service answered ${answer.status}.`, answer);
}

// RFC 9470: the user must prove more than a refresh can.
function asksForStepUp(response) {
  return Boolean(response.headers.get('www-authenticate')?.includes('insufficient_user_authentication'));
}

// RFC 9449: why a proof was not accepted, in the words of a resource or of the service's own routes.
function problemOfProof(answer, { headers }) {
  if (answer.status === 400) return parse(answer).error;
  if (answer.status !== 401) return undefined;
  return /\berror="?(use_dpop_nonce|invalid_dpop_proof)\b/.exec(headers.get('www-authenticate') ?? '')?.[1];
}

// Whom a token is for, if it can be told: only ever compared with that of the token before, never trusted.
function subject(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).sub ?? null;
  } catch {
    return null;
  }
}

// Leaves the promise to itself: others are waiting for it, too.
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
