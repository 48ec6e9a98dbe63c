// Drives session.js in headless Chromium against the demo's server: several tabs, lost answers, no network, frozen
// tabs, wrong clocks, logins that race, and everywhere that a token could be left lying about. The pages are blank:
// what is tried is the module, not the demo's page.
//
// RETRY_WINDOW_MS  of the demo at BASE_URL
// SHORT_LIVED_URL  another demo, whose access tokens live for a few seconds only; what else, support.mjs says

import assert from 'node:assert/strict';
import {
  ADA, BASE_URL, BOB, COOKIE, bodies, browser, check, consoleLines, expectError, isRefresh, need, newContext, reading,
  refreshCookie, secrets, unexpected, urlFrom,
} from './support.mjs';

const SHORT_LIVED_URL = urlFrom('SHORT_LIVED_URL');
const RETRY = Number(need('RETRY_WINDOW_MS'));
const HOLD = RETRY * 2 / 3; // as the demo has it
const MARGIN = 100;         // for clocks that are read at different moments
const HOUR = 3_600_000;
const DEADLINE = 15_000;
const LIMIT = 90_000;       // of a scenario
const REFRESH = '**/auth/refresh';

const logs = []; // of all pages that were closed
const accessTokens = new Set();

// Runs in each page before anything else: `log` holds, in order, what the module sent, what came by the channel, and
// what the module told of. Listening first, the page has a message in its log before the module acts on it.
function prepare({ locks = true, channel = true, session = true, origins }) {
  if (location.pathname !== '/health') return;
  window.log = [];
  if (!locks) delete Navigator.prototype.locks;
  if (!channel) delete window.BroadcastChannel;
  else new BroadcastChannel(`session ${location.origin}/auth`).onmessage = ({ data }) => log.push({ heard: data });

  const send = window.fetch;
  window.fetch = (input, init) => {
    const request = input instanceof Request ? input : new Request(input, init);
    const [, claims] = (request.headers.get('authorization') ?? '').split('.');
    const { sub = null, exp } = claims ? JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/'))) : {};
    log.push({ sent: new URL(request.url).pathname, as: sub, left: exp && exp * 1000 - Date.now() });
    return send(input, init);
  };

  if (!session) return;
  window.ready = import(`${location.origin}/session.js`).then(({ Session }) => {
    window.session = new Session({ origins });
    window.session.onChange(({ type, elsewhere, error, state }) => log.push({
      change: type,
      elsewhere,
      code: error?.code,
      user: state.user?.email,
      all: JSON.stringify([state, error, error?.message, error?.stack]),
    }));
    return outcome(window.session.refresh());
  });
  // Of a call: whose session it is, or why it failed.
  window.outcome = (call) => call.then((user) => user?.email, (error) => error.code ?? String(error));
  window.ask = async (path) => {
    const answer = await window.session.fetch(path);
    return [answer.status, answer.ok ? (await answer.json()).email : null];
  };
}

async function start() {
  const context = await newContext();
  // Where no route is left, requests that one still keeps back go to the server by themselves.
  await context.route('**/unused', (route) => route.continue());
  return context;
}

async function open(context, { url = BASE_URL, fakeClock = false, ...options } = {}) {
  const page = await context.newPage();
  if (fakeClock) await page.clock.install();
  await page.addInitScript(prepare, options);
  await page.goto(`${url}/health`);
  await page.evaluate(() => window.ready);
  return page;
}

const openAll = (context, count, options) =>
  Promise.all(Array.from({ length: count }, () => open(context, options)));

// Closes the context, and keeps what its pages saw.
async function finish(context) {
  for (const page of context.pages()) logs.push(JSON.stringify(await log(page)));
  await context.close();
}

const login = (page, { email, password }) =>
  page.evaluate((credentials) => outcome(session.login(credentials)), { email, password });
const refresh = (page) => page.evaluate(() => outcome(session.refresh()));
const me = (page) => page.evaluate(() => ask('/api/me'));
const state = (page) => page.evaluate(() => session.state);
const log = (page) => page.evaluate(() => log);

// Forgets the log so far.
const mark = (page) => page.evaluate(() => log.splice(0).length);

async function changes(page) {
  return (await log(page)).filter(({ change }) => change).map(({ change }) => change);
}

async function sent(page) {
  return (await log(page)).map((entry) => entry.sent).filter(Boolean);
}

// Waits until the page's log holds such an entry.
async function logged(page, entry) {
  const found = (wanted) => log.some((seen) => Object.keys(wanted).every((key) => seen[key] === wanted[key]));
  await page.waitForFunction(found, entry, { polling: 20 }).catch(async (cause) => {
    const seen = JSON.stringify(await log(page));
    throw new Error(`not logged: ${JSON.stringify(entry)}, but: ${seen}`, { cause });
  });
}

async function until(condition, what) {
  for (const deadline = Date.now() + DEADLINE; !await condition();) {
    assert.ok(Date.now() < deadline, `in vain: ${what}`);
    await new Promise((done) => { setTimeout(done, 20); });
  }
}

// The server's windows have to pass.
function passed(since, time) {
  return until(() => Date.now() > since + time + MARGIN, `${time} ms`);
}

const cookie = async (context) => (await refreshCookie(context))?.value;

// Sends what the browser would send, so that the answer reaches the browser only if the test hands it on.
async function askServer(context, request) {
  const headers = { 'content-type': 'application/json', 'x-session-request': '1' };
  const token = await cookie(context);
  if (token) headers.cookie = `${COOKIE}=${token}`;
  const answer = await fetch(request.url(), { method: 'POST', headers, body: request.postData() });
  const given = answer.headers.get('set-cookie')?.split(';')[0].split('=')[1];
  if (given) secrets.add(given);
  const body = await answer.text();
  const { status } = answer;
  return { given, status, answer: { status, headers: Object.fromEntries(answer.headers), body } };
}

function signal() {
  let give;
  const given = new Promise((done) => { give = done; });
  return { given, give };
}

// Lets the next such request through to the server, and keeps the answer back until it is released.
async function holdNext(context, url) {
  const [asked, released, over] = [signal(), signal(), signal()];
  await context.route(url, async (route) => {
    const { given, answer } = await askServer(context, route.request());
    asked.give(given);
    await released.given;
    await route.fulfill(answer).catch(() => {}); // given up meanwhile
    over.give();
  }, { times: 1 });
  return {
    asked: asked.given,
    release() {
      released.give();
      return over.given;
    },
  };
}

// The refreshes of the context: `answers` fills up with what came back.
function watchRefreshes(context) {
  const answers = [];
  const read = async (response) => {
    const cookies = (await response.headersArray()).filter(({ name }) => name.toLowerCase() === 'set-cookie');
    answers.push({ status: response.status(), cookies: cookies.map(({ value }) => value.split(';')[0].split('=')[1]) });
  };
  context.on('response', (response) => { if (isRefresh(response)) reading.push(read(response).catch(() => {})); });
  return answers;
}

// Stops all script of the page, timers included, until the function returned is called; then `then` runs ahead of all
// that has become due meanwhile. Chromium itself freezes only hidden tabs, and playwright keeps all of them visible.
async function freeze(page, then = () => null) {
  const [stopped, thaw] = [signal(), signal()];
  await page.route('**/thaw', async (route) => {
    stopped.give();
    await thaw.given;
    await route.fulfill({ body: '' });
  }, { times: 1 });
  const result = page.evaluate((next) => {
    const request = new XMLHttpRequest();
    request.open('GET', '/thaw', false);
    request.send();
    return (0, eval)(`(${next})()`);
  }, then.toString());
  await stopped.given;
  return () => {
    thaw.give();
    return result;
  };
}

for (const path of ['/auth/refresh', '/auth/login', '/api/me', '/api/test']) {
  expectError(path, /status of 401/);
  expectError(path, /ERR_(FAILED|CONNECTION_RESET|INTERNET_DISCONNECTED)/);
}

// Each has a browser context of its own, and mostly waits: a few at once take no longer than one.
const LANES = 3;
const scenarios = [];
const scenario = (name, body) => scenarios.push({ name, body: () => Promise.race([body(), tooLong()]) });
const tooLong = () => new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`not over after ${LIMIT} ms`)), LIMIT).unref();
});

// ── Many tabs ──────────────────────────────────────────────────────────────────────────────────────────────────────

scenario('five tabs reloaded at once stay signed in, with one rotation', async () => {
  const context = await start();
  const tabs = await openAll(context, 5);
  await login(tabs[0], ADA);
  const since = Date.now();
  await Promise.all(tabs.map((tab) => until(async () => (await state(tab)).status === 'signed-in', 'the login')));
  await passed(since, HOLD);
  const before = await cookie(context);
  const answers = watchRefreshes(context);
  await Promise.all(tabs.map((tab) => tab.reload()));
  for (const tab of tabs) assert.equal(await tab.evaluate(() => ready), ADA.email);
  await until(() => answers.length === 5, 'five answers');
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200, 200]);
  // One after the other by their lock: the first gets a new cookie, and the others send it.
  assert.deepEqual(answers.flatMap(({ cookies }) => cookies), [await cookie(context)]);
  assert.notEqual(await cookie(context), before);
  for (const tab of tabs) assert.deepEqual(await me(tab), [200, ADA.email]);
  await finish(context);
});

scenario('five tabs without locks and channel send one cookie at once, get one successor, and live on', async () => {
  const context = await start();
  const tabs = await openAll(context, 5, { locks: false, channel: false });
  await login(tabs[0], ADA);
  await passed(Date.now(), HOLD);

  // None is sent before all are there, and none is answered before the server has seen all.
  const waiting = [];
  const asked = [];
  await context.route(REFRESH, async (route) => {
    waiting.push(route);
    await until(() => waiting.length === 5, 'five requests');
    const { given, status, answer } = await askServer(context, route.request());
    asked.push({ given, status });
    await until(() => asked.length === 5, 'five answers');
    await route.fulfill(answer);
  }, { times: 5 });
  await Promise.all(tabs.map((tab) => tab.reload()));
  for (const tab of tabs) assert.equal(await tab.evaluate(() => ready), ADA.email);
  const successor = await cookie(context);
  assert.deepEqual(asked, Array(5).fill({ given: successor, status: 200 }));

  await passed(Date.now(), HOLD);
  for (const tab of tabs) assert.equal(await refresh(tab), ADA.email);
  assert.notEqual(await cookie(context), successor, 'no rotation after the one they shared');
  await finish(context);
});

scenario('a frozen tab that holds the lock keeps the others from refreshing only for a while', async () => {
  const context = await start();
  const [frozen, other] = await openAll(context, 2);
  await login(frozen, ADA);
  await logged(other, { change: 'signed-in', elsewhere: true });
  const { asked, release } = await holdNext(context, REFRESH);
  const late = refresh(frozen);
  await asked;
  const thaw = await freeze(frozen);
  assert.equal(await refresh(other), ADA.email);
  await thaw();
  await release();
  assert.equal(await late, ADA.email);
  assert.deepEqual(await me(frozen), [200, ADA.email]);
  await finish(context);
});

scenario('a logout in one tab is seen in the other four', async () => {
  const context = await start();
  const [first, ...others] = await openAll(context, 5);
  await login(first, ADA);
  for (const tab of others) {
    await logged(tab, { change: 'signed-in', elsewhere: true, user: ADA.email });
    assert.deepEqual(await me(tab), [200, ADA.email]);
    await mark(tab);
  }
  await first.evaluate(() => session.logout());
  await logged(first, { change: 'signed-out', elsewhere: false });
  assert.equal(await cookie(context), undefined, 'the cookie is still there');
  for (const tab of others) {
    await logged(tab, { change: 'signed-out', elsewhere: true });
    const { status, user, expiresAt } = await state(tab);
    assert.deepEqual({ status, user, expiresAt }, { status: 'signed-out', user: null, expiresAt: null });
    assert.deepEqual(await me(tab), [401, null]);
    assert.deepEqual((await log(tab)).filter((entry) => entry.sent).map(({ sent: path, as }) => [path, as]),
      [['/api/me', null]]);
  }
  await finish(context);
});

scenario('a replayed refresh token ends the session in all tabs', async () => {
  const context = await start();
  const [first, ...others] = await openAll(context, 3);
  await login(first, ADA);
  for (const tab of others) await logged(tab, { change: 'signed-in', elsewhere: true });
  const stolen = await cookie(context);
  await passed(Date.now(), HOLD);
  assert.equal(await refresh(first), ADA.email);
  assert.notEqual(await cookie(context), stolen);
  await passed(Date.now(), RETRY);
  const replay = await fetch(`${BASE_URL}/auth/refresh`, {
    method: 'POST',
    headers: { cookie: `${COOKIE}=${stolen}`, 'x-session-request': '1' },
  });
  assert.equal(replay.status, 401);
  assert.equal(await refresh(first), 'ended');
  await logged(first, { change: 'ended', elsewhere: false });
  for (const tab of others) await logged(tab, { change: 'ended', elsewhere: true });
  for (const tab of [first, ...others]) {
    assert.equal((await state(tab)).status, 'signed-out');
    assert.deepEqual(await me(tab), [401, null]);
  }
  await finish(context);
});

// ── A bad network ──────────────────────────────────────────────────────────────────────────────────────────────────

scenario('a lost answer to a refresh is asked for again at once; two are made up for by backing off', async () => {
  const context = await start();
  const page = await open(context);
  const lose = async (times) => {
    const lost = [];
    await context.route(REFRESH, async (route) => {
      lost.push((await askServer(context, route.request())).given);
      await route.abort('connectionreset');
    }, { times });
    return lost;
  };
  await login(page, ADA);
  await passed(Date.now(), HOLD);

  await mark(page);
  const once = await lose(1);
  assert.equal(await refresh(page), ADA.email);
  assert.deepEqual(await changes(page), ['refreshed']);
  assert.deepEqual(await sent(page), ['/auth/refresh', '/auth/refresh']);
  assert.ok(once[0], 'the server did not rotate');
  assert.deepEqual(once, [await cookie(context)]);
  await passed(Date.now(), HOLD);

  await mark(page);
  const twice = await lose(2);
  assert.equal(await refresh(page), 'unavailable');
  const { status, user } = await state(page);
  assert.deepEqual([status, user.email], ['signed-in', ADA.email]);
  await logged(page, { change: 'refreshed' });
  assert.deepEqual(await changes(page), ['refresh-failed', 'refreshed']);
  assert.ok(twice[0], 'the server did not rotate');
  assert.deepEqual(twice, Array(2).fill(await cookie(context)));
  assert.deepEqual(await me(page), [200, ADA.email]);
  await finish(context);
});

scenario('without a network the session is kept, and refreshed as soon as there is one', async () => {
  const context = await start();
  const page = await open(context, { fakeClock: true });
  await login(page, ADA);
  await context.setOffline(true);
  await page.clock.setSystemTime(Date.now() + HOUR);
  await mark(page);
  // Often enough for a back-off that is longer than the wait for the refresh below.
  for (let round = 0; round < 7; round += 1) {
    assert.equal(await page.evaluate(() => outcome(session.fetch('/api/me'))), 'unavailable');
  }
  const failed = (await log(page)).filter(({ change }) => change);
  for (const { change, code } of failed) assert.deepEqual([change, code], ['refresh-failed', 'unavailable']);
  const { status, user, refreshAt } = await state(page);
  assert.deepEqual([status, user.email], ['signed-in', ADA.email]);
  assert.ok(refreshAt - await page.evaluate(() => Date.now()) > DEADLINE, 'it would come by backing off, too');
  assert.ok(!(await sent(page)).includes('/api/me'), 'sent with a dead token');
  await context.setOffline(false);
  await logged(page, { change: 'refreshed' });
  assert.deepEqual(await me(page), [200, ADA.email]);
  await finish(context);
});

// ── Time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

scenario('a tab that was frozen until its token had expired asks for a new one before it sends one', async () => {
  const context = await start();
  const page = await open(context, { url: SHORT_LIVED_URL });
  await login(page, ADA);
  await mark(page);
  const { expiresAt } = await state(page);
  const thaw = await freeze(page, () => ask('/api/me'));
  await passed(expiresAt, 1000);
  assert.deepEqual(await thaw(), [200, ADA.email]);
  const seen = await log(page);
  assert.equal(seen[0].sent, '/auth/refresh');
  for (const { sent: path, left } of seen) {
    // The claim has whole seconds.
    if (path === '/api/me') assert.ok(left > -1000, `sent ${-left} ms after its end`);
  }
  await finish(context);
});

scenario('a wall clock that jumps ahead and back keeps no dead token and loses no live session', async () => {
  const context = await start();
  const page = await open(context, { fakeClock: true });
  await login(page, ADA);
  await mark(page);

  await page.clock.setSystemTime(Date.now() + HOUR);
  assert.deepEqual(await me(page), [200, ADA.email]);
  assert.deepEqual(await sent(page), ['/auth/refresh', '/api/me']);

  await page.clock.setSystemTime(Date.now());
  await mark(page);
  assert.deepEqual(await me(page), [200, ADA.email]);
  const { expiresAt, lifetime } = await state(page);
  const left = expiresAt - await page.evaluate(() => Date.now());
  assert.ok(left > 0 && left <= lifetime, `${left} ms left of ${lifetime}`);
  assert.deepEqual(await sent(page), ['/api/me']);

  await page.clock.fastForward(lifetime);
  await logged(page, { change: 'refreshed' });
  assert.deepEqual(await me(page), [200, ADA.email]);
  await finish(context);
});

scenario('fifty requests with an expired token share one refresh', async () => {
  const context = await start();
  const page = await open(context, { fakeClock: true });
  await login(page, ADA);
  await mark(page);
  await page.clock.setSystemTime(Date.now() + HOUR);
  const answers = await page.evaluate(() => Promise.all(Array.from({ length: 50 }, () => ask('/api/me'))));
  assert.deepEqual(answers, Array(50).fill([200, ADA.email]));
  const paths = await sent(page);
  assert.equal(paths[0], '/auth/refresh');
  assert.deepEqual(paths.slice(1), Array(50).fill('/api/me'));
  await finish(context);
});

// ── Who is signed in ───────────────────────────────────────────────────────────────────────────────────────────────

async function assertSignedIn(page, { email }) {
  const { status, user } = await state(page);
  assert.deepEqual([status, user.email], ['signed-in', email]);
  assert.deepEqual(await me(page), [200, email]);
  assert.equal(await refresh(page), email, 'the cookie is that of another');
  assert.deepEqual(await me(page), [200, email]);
}

scenario('a login that races a refresh wins, whichever is answered first', async () => {
  const context = await start();
  const page = await open(context);
  await login(page, ADA);
  await passed(Date.now(), HOLD);

  let held = await holdNext(context, REFRESH);
  let refreshed = refresh(page);
  assert.ok(await held.asked, 'the late answer sets no cookie');
  assert.equal(await login(page, BOB), BOB.email);
  await held.release();
  assert.equal(await refreshed, 'aborted');
  await assertSignedIn(page, BOB);
  await passed(Date.now(), HOLD);

  held = await holdNext(context, REFRESH);
  refreshed = refresh(page);
  assert.ok(await held.asked, 'the late answer sets no cookie');
  const heldLogin = await holdNext(context, '**/auth/login');
  const loggedIn = login(page, ADA);
  await heldLogin.asked;
  await held.release();
  assert.equal(await refreshed, 'aborted');
  const after = refresh(page);
  await heldLogin.release();
  assert.equal(await loggedIn, ADA.email);
  assert.equal(await after, ADA.email);
  await assertSignedIn(page, ADA);
  await finish(context);
});

scenario('a login in another tab wins over a refresh, and nothing more is sent as the user before', async () => {
  const context = await start();
  // With locks the login would wait for the refresh.
  const [first, second] = await openAll(context, 2, { locks: false });
  await login(first, ADA);
  await logged(second, { change: 'signed-in', elsewhere: true, user: ADA.email });
  await passed(Date.now(), HOLD);
  await mark(first);

  const held = await holdNext(context, REFRESH);
  const refreshed = refresh(first);
  assert.ok(await held.asked, 'the late answer sets no cookie');
  await first.evaluate(() => {
    window.asking = (async () => {
      while (!window.enough) await session.fetch('/api/me').catch(() => {});
    })();
  });
  await logged(first, { sent: '/api/me', as: 'user-ada' });
  assert.equal(await login(second, BOB), BOB.email);
  await logged(first, { change: 'signed-in', elsewhere: true, user: BOB.email });
  await held.release();
  assert.equal(await refreshed, 'aborted');
  await logged(first, { sent: '/api/me', as: 'user-bob' });
  await first.evaluate(() => {
    window.enough = true;
    return asking;
  });
  const seen = await log(first);
  const after = seen.slice(seen.findIndex(({ heard }) => heard === 'signed-in'));
  assert.equal(after[0].heard, 'signed-in');
  assert.ok(!after.some(({ as }) => as === 'user-ada'), "sent with Ada's token");
  for (const tab of [first, second]) await assertSignedIn(tab, BOB);
  await finish(context);
});

scenario('without a channel a tab learns of another user by its next refresh', async () => {
  const context = await start();
  const [first, second] = await openAll(context, 2, { channel: false });
  await login(first, ADA);
  assert.equal(await login(second, BOB), BOB.email);
  assert.equal(await refresh(first), BOB.email);
  await logged(first, { change: 'signed-in', elsewhere: true, user: BOB.email });
  for (const tab of [first, second]) await assertSignedIn(tab, BOB);
  await finish(context);
});

// ── What is sent where ─────────────────────────────────────────────────────────────────────────────────────────────

scenario('a 401 is answered by one refresh and the same request once more', async () => {
  const context = await start();
  const page = await open(context);
  await login(page, ADA);
  const received = [];
  let accepted = 1; // how many are refused before
  await context.route('**/api/test', async (route) => {
    const request = route.request();
    received.push({
      method: request.method(),
      type: request.headers()['content-type'],
      token: request.headers().authorization,
      body: request.postDataBuffer()?.toString('hex'),
    });
    await route.fulfill({ status: received.length > accepted ? 200 : 401, body: `answer ${received.length}` });
  });
  const put = () => page.evaluate(async () => {
    const body = new Uint8Array([0, 255, 10, 13, 128]);
    const headers = { 'content-type': 'application/x-test' };
    const answer = await session.fetch('/api/test', { method: 'PUT', headers, body });
    return [answer.status, await answer.text()];
  });

  await mark(page);
  assert.deepEqual(await put(), [200, 'answer 2']);
  assert.deepEqual(await sent(page), ['/api/test', '/auth/refresh', '/api/test']);
  const [before, after] = received;
  assert.deepEqual([before.method, before.type, before.body], ['PUT', 'application/x-test', '00ff0a0d80']);
  assert.deepEqual({ ...after, token: null }, { ...before, token: null });
  assert.match(after.token, /^Bearer ./);
  assert.notEqual(after.token, before.token);

  await mark(page);
  received.length = 0;
  accepted = Infinity;
  assert.deepEqual(await put(), [401, 'answer 2']);
  assert.deepEqual(await sent(page), ['/api/test', '/auth/refresh', '/api/test']);
  await finish(context);
});

scenario('the token goes to the origins named, and to no other', async () => {
  const context = await start();
  const page = await open(context, { origins: [BASE_URL, 'https://api.example'] });
  await login(page, ADA);
  const received = {};
  await context.route(/^https:\/\/(api|other)\.example\//, async (route) => {
    received[new URL(route.request().url()).hostname] = (await route.request().allHeaders()).authorization;
    const headers = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'authorization' };
    await route.fulfill({ headers });
  });
  const statuses = await page.evaluate(() => Promise.all(
    ['https://api.example/a', 'https://other.example/a'].map(async (url) => (await session.fetch(url)).status),
  ));
  assert.deepEqual(statuses, [200, 200]);
  assert.match(received['api.example'], /^Bearer ./);
  assert.deepEqual(Object.keys(received).sort(), ['api.example', 'other.example']);
  assert.equal(received['other.example'], undefined);
  await finish(context);
});

// ── What a thief would look for ────────────────────────────────────────────────────────────────────────────────────

scenario('no token is stored, and none can be read by a script of the page', async () => {
  const context = await start();
  const page = await open(context);
  await login(page, ADA);
  const answered = page.waitForResponse(isRefresh);
  await refresh(page);
  const tokens = [await cookie(context), (await (await answered).json()).access_token];
  assert.deepEqual(await me(page), [200, ADA.email]);
  const seen = await page.evaluate(async () => ({
    cookie: document.cookie,
    local: Object.entries(localStorage),
    session: Object.entries(sessionStorage),
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    history: [history.state, location.href, name, document.referrer],
    performance: performance.getEntries(),
    page: document.documentElement.outerHTML,
    globals: Object.values(window).filter((value) => typeof value === 'string'),
    log: window.log,
    own: [JSON.stringify(session), Object.getOwnPropertyNames(session), structuredClone(session)],
    state: structuredClone(session.state),
  }));
  assert.equal(seen.cookie, '');
  for (const place of ['local', 'session', 'databases', 'caches']) assert.deepEqual(seen[place], [], place);
  assert.deepEqual(seen.own, ['{}', [], {}]);
  assert.deepEqual(Object.keys(seen.state), ['status', 'user', 'expiresAt', 'lifetime', 'refreshAt']);
  for (const token of tokens) {
    assert.ok(token && !JSON.stringify(seen).includes(token), 'a token is in reach of scripts');
  }
  await finish(context);
});

scenario('a page that listens to the channel hears no token', async () => {
  const context = await start();
  const page = await open(context);
  const spy = await open(context, { session: false });
  await login(page, ADA);
  await passed(Date.now(), HOLD);
  assert.equal(await refresh(page), ADA.email);
  await page.evaluate(() => session.logout());
  await login(page, BOB);
  await until(async () => (await log(spy)).length >= 3, 'three messages');
  const heard = (await log(spy)).map((entry) => entry.heard);
  assert.deepEqual(heard, ['signed-in', 'signed-out', 'signed-in']);
  await finish(context);
});

await Promise.all(Array.from({ length: LANES }, async () => {
  for (let next = scenarios.shift(); next; next = scenarios.shift()) await check(next.name, next.body);
}));

await check('no answer that a page received, no message and no change holds a refresh token', async () => {
  await Promise.all(reading);
  for (const [url, text] of bodies) {
    if (!/\/auth\/(login|refresh)$/.test(url)) continue;
    const token = /"access_token":"([^"]+)"/.exec(text)?.[1];
    if (token) accessTokens.add(token);
  }
  const counts = `${secrets.size} and ${accessTokens.size} tokens, ${bodies.length} answers, ${logs.length} logs`;
  assert.ok(secrets.size > 20 && accessTokens.size > 50 && bodies.length > 150 && logs.length > 30, counts);
  for (const secret of secrets) {
    for (const [url, text] of bodies) assert.ok(!text.includes(secret), `a refresh token is in the answer of ${url}`);
  }
  for (const secret of [...secrets, ...accessTokens]) {
    for (const text of logs) assert.ok(!text.includes(secret), `a token is in ${text}`);
  }
});

await check('the module writes nothing to the console and throws nothing', async () => {
  assert.deepEqual(unexpected, []);
  // What the browser itself says of failed requests.
  assert.deepEqual(consoleLines.filter((line) => !line.startsWith('error: Failed to load resource')), []);
});

await browser.close();
