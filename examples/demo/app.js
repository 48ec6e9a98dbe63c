// The browser side of the demo: signs in, keeps the session alive, shows it.
//
// The access token lives in `session`, in this module's scope, and nowhere else. The refresh token
// is in a cookie this script cannot read. A reload therefore starts with nothing, and the first call
// that needs a token asks POST /auth/refresh for one.

const REFRESH_TIMEOUT = 9_000; // the server's retry window is sized for clients that give up here
const TIMEOUT = 15_000;
const RETRY_AFTER = 5;         // seconds, where the server names none

// ── Session ──────────────────────────────────────────────────────────────────────────────────────

let session = null;               // { token, user, life, expiresAt, refreshAt }, times in wall-clock ms
let refreshing = null;            // the one refresh in flight, shared by all callers in this tab
let gate = new AbortController(); // one per sign-in; closed when that ends, so late answers change nothing

class Problem extends Error {
  constructor(kind, message, retryAfter = RETRY_AFTER) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

// Every call under way ends with `reason`. Aborting alone is not enough, since an answer already read
// is past aborting: whoever has waited asks `signal` again before using what it got.
function startOver(reason = new Problem('stale', 'The session changed meanwhile.')) {
  gate.abort(reason);
  gate = new AbortController();
  refreshing = null;
  session = null;
}

async function exchange(method, path, { signal, token, json, timeout = TIMEOUT }) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (json) headers['content-type'] = 'application/json';
  try {
    const response = await fetch(path, {
      method,
      headers,
      body: json && JSON.stringify(json),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    });
    const text = await response.text();
    signal.throwIfAborted();
    return { status: response.status, text, retryAfter: Number(response.headers.get('retry-after')) };
  } catch (error) {
    signal.throwIfAborted();
    if (error.name === 'TimeoutError') throw new Problem('slow', 'The service took too long to answer. Please try again.');
    throw new Problem('unavailable', 'The service cannot be reached. Check your connection and try again.');
  }
}

function failure({ status, retryAfter }) {
  if (status >= 502 && status <= 504) {
    const seconds = Math.min(Math.max(retryAfter || RETRY_AFTER, 1), 60);
    return new Problem('unavailable', 'The service is unavailable right now. Please try again in a moment.', seconds);
  }
  if (status === 429) return new Problem('failed', 'Too many attempts. Please wait a minute and try again.');
  return new Problem('failed', `Something went wrong on our side (${status}). Please try again.`);
}

const confused = () => new Problem('failed', 'The service sent an answer this page does not understand.');

function body(answer) {
  if (answer.status !== 200) throw failure(answer);
  try {
    return JSON.parse(answer.text);
  } catch {
    throw confused();
  }
}

// Expiry is counted from when the request left, so it is never later than the server's own. Tabs that
// were opened together draw different moments to renew.
function keep({ access_token: token, expires_in: seconds, user }, sentAt) {
  if (typeof token !== 'string' || !(seconds > 0)) throw confused();
  const life = seconds * 1000;
  const lead = Math.min(60_000, life / 4) * (1 + Math.random() / 2);
  session = { token, user, life, expiresAt: sentAt + life, refreshAt: sentAt + life - lead };
}

async function renew() {
  const { signal } = gate;
  for (let attempt = 1; ; attempt += 1) {
    const sentAt = Date.now();
    try {
      const answer = await exchange('POST', '/auth/refresh', { signal, timeout: REFRESH_TIMEOUT });
      if (answer.status === 401) {
        const ended = new Problem('ended', 'Your session has ended. Please sign in again.');
        startOver(ended);
        throw ended;
      }
      return keep(body(answer), sentAt);
    } catch (problem) {
      // A lost answer is safe to ask for again only while the server still accepts the old cookie: at once.
      if (problem.kind !== 'slow' || attempt > 1) throw problem;
    }
  }
}

function refresh() {
  if (!refreshing) {
    const flight = renew().finally(() => {
      if (refreshing === flight) refreshing = null;
    });
    refreshing = flight;
  }
  return refreshing;
}

async function get(path) {
  const { signal } = gate;
  if (!session || Date.now() >= session.expiresAt) await refresh();
  signal.throwIfAborted();
  const { token } = session;
  let answer = await exchange('GET', path, { signal, token });
  if (answer.status === 401) {
    // Another caller may have renewed while this one was on its way.
    if (session.token === token) await refresh();
    signal.throwIfAborted();
    answer = await exchange('GET', path, { signal, token: session.token });
  }
  return body(answer);
}

async function signIn(email, password) {
  startOver();
  const { signal } = gate;
  const sentAt = Date.now();
  const answer = await exchange('POST', '/auth/login', { signal, json: { email, password } });
  if (answer.status === 401) {
    throw new Problem('credentials', 'That email and password do not match. Check both and try again.');
  }
  keep(body(answer), sentAt);
}

// The token is put back when the server could not end the session: the cookie still works then, and
// a page that claims to be signed out would be wrong after the next reload.
async function signOut() {
  const kept = session;
  startOver();
  const { signal } = gate;
  try {
    const answer = await exchange('POST', '/auth/logout', { signal });
    if (answer.status !== 204) throw failure(answer);
  } catch (problem) {
    if (!signal.aborted) session = kept;
    throw problem;
  }
}

// ── View ─────────────────────────────────────────────────────────────────────────────────────────

const $ = (id) => document.getElementById(id);
const form = $('sign-in');
const signedIn = $('signed-in');

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function say(status, error = '') {
  $('status').textContent = status;
  $('error').textContent = error;
}

// Signed in or out is read from `session`, so that the page cannot show one while the other holds.
function show() {
  const changed = session ? signedIn.hidden : form.hidden;
  form.hidden = Boolean(session);
  signedIn.hidden = !session;
  if (session) {
    $('who').textContent = session.user?.email ?? '';
    showCountdown();
  } else {
    for (const id of ['who', 'claims', 'sessions']) $(id).replaceChildren();
  }
  return changed;
}

function showClaims(me) {
  $('claims').replaceChildren(...['sub', 'email', 'role', 'sid'].map((name) =>
    el('div', '', el('dt', '', name), el('dd', '', String(me[name] ?? '–')))));
}

function deviceName(agent) {
  if (!agent) return 'Unknown device';
  const first = (names) => names.find(([pattern]) => pattern.test(agent))?.[1];
  const browser = first([[/Edg\w*\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'],
    [/Chrom(e|ium)\//, 'Chrome'], [/Safari\//, 'Safari']]);
  const system = first([[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'],
    [/Mac OS X/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']]);
  if (browser) return system ? `${browser} on ${system}` : browser;
  return agent.length > 60 ? `${agent.slice(0, 60)}…` : agent;
}

function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (!(seconds >= 60)) return 'just now';
  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
  if (seconds < 3600) return words.format(-Math.floor(seconds / 60), 'minute');
  if (seconds < 86_400) return words.format(-Math.floor(seconds / 3600), 'hour');
  return words.format(-Math.floor(seconds / 86_400), 'day');
}

function showSessions(sessions) {
  const order = (a, b) => Number(b.current) - Number(a.current) || b.last_used_at.localeCompare(a.last_used_at);
  $('sessions').replaceChildren(...sessions.toSorted(order).map((entry) => {
    const device = el('p', 'device', deviceName(entry.user_agent));
    device.title = entry.user_agent ?? '';
    if (entry.current) device.append(el('span', 'tag', 'this device'));
    const used = el('time', '', ago(entry.last_used_at));
    used.dateTime = entry.last_used_at;
    used.title = new Date(entry.last_used_at).toLocaleString();
    return el('li', '', device, el('p', 'when', entry.address ? `${entry.address} · ` : '', 'last used ', used));
  }));
}

function showCountdown() {
  const left = Math.max(0, session.expiresAt - Date.now());
  const seconds = Math.ceil(left / 1000);
  $('countdown').textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  $('life').value = Math.min(1, left / session.life);
}

// ── Wiring ───────────────────────────────────────────────────────────────────────────────────────

let resumeAt = 0; // when to look for a session again, if the service was down at load

async function load(status) {
  const { signal } = gate;
  const [me, list] = await Promise.all([get('/api/me'), get('/auth/sessions')]);
  signal.throwIfAborted();
  showClaims(me);
  showSessions(list.sessions);
  show();
  say(status);
}

function report(problem) {
  if (problem.kind === 'stale') return;
  const changed = show();
  if (problem.kind === 'ended') {
    say(problem.message);
    if (changed) $('email').focus();
  } else if (problem instanceof Problem) {
    say('', problem.message);
  } else {
    console.error(problem);
    say('', 'Something went wrong on this page. Please reload it.');
  }
}

const later = (problem) => Date.now() + (problem.retryAfter ?? RETRY_AFTER) * 1000;

async function resume() {
  resumeAt = 0;
  try {
    await load('Welcome back: your session was still open.');
  } catch (problem) {
    if (problem.kind === 'ended') {
      // Nobody was signed in on this page yet, so there is no ended session to speak of.
      show();
      say('');
      return;
    }
    report(problem);
    if (session) session.refreshAt = later(problem);
    else if (problem.kind === 'unavailable' || problem.kind === 'slow') resumeAt = later(problem);
  }
}

async function refreshAndLoad(status) {
  try {
    await refresh();
    await load(status());
  } catch (problem) {
    if (session) session.refreshAt = Math.max(session.refreshAt, later(problem));
    report(problem);
  }
}

// The clock is compared anew every second: a timer set for minutes ahead stops while a laptop sleeps.
function tick() {
  if (session) {
    showCountdown();
    if (Date.now() >= session.refreshAt && !refreshing) {
      refreshAndLoad(() => 'Access token renewed automatically.');
    }
  } else if (resumeAt && Date.now() >= resumeAt) {
    resume();
  }
}

async function busy(element, work) {
  if (element.ariaBusy === 'true') return;
  element.ariaBusy = 'true';
  try {
    await work();
  } catch (problem) {
    report(problem);
  } finally {
    element.ariaBusy = 'false';
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  busy(form, async () => {
    resumeAt = 0;
    say('Signing in…');
    try {
      await signIn(form.email.value.trim(), form.password.value);
    } catch (problem) {
      if (problem.kind === 'credentials') form.password.select();
      throw problem;
    }
    form.reset();
    await load('You are signed in.');
    $('who').focus();
  });
});

form.addEventListener('click', ({ target }) => {
  const { email, password } = target.dataset;
  if (!email) return;
  form.email.value = email;
  form.password.value = password;
  form.querySelector('[type=submit]').focus();
});

$('refresh-now').addEventListener('click', ({ currentTarget }) => busy(currentTarget, async () => {
  if (!session) return; // signing out
  await refreshAndLoad(() => `Access token refreshed at ${new Date().toLocaleTimeString()}.`);
}));

$('sign-out').addEventListener('click', ({ currentTarget }) => busy(currentTarget, async () => {
  say('Signing out…');
  try {
    await signOut();
  } catch (problem) {
    if (problem.kind !== 'stale') problem.message = `You are still signed in. ${problem.message}`;
    throw problem;
  }
  show();
  say('You are signed out.');
  $('email').focus();
}));

document.addEventListener('visibilitychange', () => document.hidden || tick());
setInterval(tick, 1000);
resume();
