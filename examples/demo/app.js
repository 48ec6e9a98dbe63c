// The page of the demo: signs in, shows the session, the time line and the stolen tokens. Everything about tokens is in
// session.js, which never gives one out.

import { $, ago, button, clock, deviceName, el, keyed, write } from './dom.js';
import { Session } from './session.js';
import * as theft from './theft.js';
import * as timeline from './timeline.js';

const POLL = 2_000;

// The server says whether it binds tokens to a key.
const session = new Session({ dpop: document.querySelector('meta[name=dpop]')?.content === 'on' });
const form = $('sign-in');

// ── Asking ───────────────────────────────────────────────────────────────────────────────────────

// Counts sign-ins and their ends: an answer to a question from before is not shown.
let era = 0;
const stale = Symbol('stale');

async function ask(path, init) {
  const asked = era;
  const response = await session.fetch(path, init);
  const body = response.status === 204 ? null : await response.json().catch(() => null);
  if (asked !== era) throw stale;
  if (!response.ok) throw Object.assign(new Error(), { code: 'failed', status: response.status });
  return body;
}

const post = (json) => ({
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json),
});

// ── View ─────────────────────────────────────────────────────────────────────────────────────────

function say(status, error = '') {
  write($('status'), status);
  write($('error'), error);
}

// Signed in or out is read from the session, so that the page cannot show one while the other holds.
function show() {
  const { status, user } = session.state;
  const isIn = status === 'signed-in';
  const hasLine = isIn || !$('ended').hidden;
  form.hidden = status !== 'signed-out';
  $('signed-in').hidden = !isIn;
  $('theft').hidden = !isIn;
  $('timeline-card').hidden = !hasLine;
  $('about').hidden = status !== 'signed-out' || hasLine;
  if (isIn) {
    write($('who'), String(user?.email ?? ''));
    showCountdown();
  } else {
    for (const id of ['who', 'claims', 'sessions']) $(id).replaceChildren();
    theft.clear();
  }
}

function showCountdown() {
  const { expiresAt, lifetime, refreshAt } = session.state;
  const left = Math.max(0, expiresAt - Date.now());
  write($('countdown'), clock(left));
  $('life').value = lifetime ? Math.min(1, left / lifetime) : 0;
  write($('renews'), refreshAt ? `Renews itself in ${clock(refreshAt - Date.now())}.` : '');
}

function showClaims(me) {
  $('claims').replaceChildren(...['sub', 'email', 'role', 'sid'].map((name) =>
    el('div', '', el('dt', '', name), el('dd', '', String(me[name] ?? '–')))));
}

function showSessions({ sessions }) {
  const order = (a, b) => Number(b.current) - Number(a.current) || b.last_used_at.localeCompare(a.last_used_at);
  keyed($('sessions'), sessions.toSorted(order), ({ id }) => id, (entry) => {
    const name = deviceName(entry.user_agent);
    const device = el('p', 'device', name);
    device.title = entry.user_agent ?? '';
    if (entry.current) device.append(el('span', 'tag', 'this device'));
    const used = el('time', '');
    const when = el('p', 'when', entry.address ? `${entry.address} · ` : '', 'last used ', used);
    const node = el('li', '', el('div', '', device, when));
    if (!entry.current) {
      const label = `Revoke ${name}, session ${entry.id.slice(0, 6)}`;
      const revoke = button('Revoke', label, () => busy(revoke, () => revokeSession(entry.id, name)));
      node.append(revoke);
    }
    return node;
  }, (node, entry) => {
    const used = node.querySelector('time');
    write(used, ago(entry.last_used_at));
    used.dateTime = entry.last_used_at;
    used.title = new Date(entry.last_used_at).toLocaleString('en-GB');
  });
  $('sign-out-others').disabled = sessions.length < 2;
}

const MESSAGES = {
  credentials: 'That email and password do not match. Check both and try again.',
  timeout: 'The service took too long to answer. Please try again.',
  unavailable: 'The service is unavailable right now. Please try again in a moment.',
};

function message({ code, status }) {
  if (status === 429) return 'Too many attempts. Please wait a minute and try again.';
  return MESSAGES[code] ?? `Something went wrong on our side${status ? ` (${status})` : ''}. Please try again.`;
}

function report(problem, before = '') {
  // What ended or changed meanwhile was told by the session already.
  if (problem === stale || problem.code === 'aborted' || problem.code === 'ended') return;
  if (problem.code) return say('', `${before}${message(problem)}`);
  console.error(problem);
  say('', 'Something went wrong on this page. Please reload it.');
}

// ── Keeping up ───────────────────────────────────────────────────────────────────────────────────

async function load() {
  const [me, sessions] = await Promise.all([ask('/api/me'), ask('/auth/sessions'), poll()]);
  showClaims(me);
  showSessions(sessions);
}

let polling = null;
let again = false; // something happened during a poll, which it may have missed

function poll() {
  if (polling) {
    again = true;
    return polling;
  }
  polling = pollOnce().finally(() => {
    polling = null;
    if (again && session.state.status === 'signed-in') poll().catch(() => {});
    again = false;
  });
  return polling;
}

async function pollOnce() {
  const [line, stolen] = await Promise.all([ask(timeline.query()), ask('/api/stolen')]);
  theft.take(stolen);
  theft.show(replay);
  const { sessions, ended } = timeline.take(line);
  // The access token of an ended session is good until it runs out; the refresh token is not. So ask at once.
  if (ended) {
    await session.refresh();
    timeline.survived();
  }
  if (sessions) showSessions(await ask('/auth/sessions'));
}

let automatic = true; // whether nobody pressed for the refresh that is under way

session.onChange(({ type, elsewhere, state, error }) => {
  const wasIn = !$('signed-in').hidden;
  const isEnd = type === 'ended' || type === 'signed-out';
  // The first refresh after a reload finds a session; it was opened before.
  const isStart = type === 'signed-in' || (type === 'refreshed' && !wasIn);
  if (isStart || isEnd) era += 1;
  if (isStart) start(state.user);
  if (wasIn || !isEnd) {
    timeline.note(type, { elsewhere, lifetime: state.lifetime, message: error ? message(error) : '' });
  }
  if (isEnd) end(type, elsewhere, wasIn);
  show();
  if (isStart && type === 'refreshed') say('Welcome back: your session was still open.');
  if (type === 'signed-in' && elsewhere) say('You are signed in: another tab did it.');
  if (type === 'refreshed' && wasIn && automatic) say('Access token renewed automatically.');
  if (type === 'refresh-failed' && wasIn && automatic) report(error, 'The access token was not renewed. ');
  if (isStart || type === 'refreshed') load().catch(report);
});

let owner = null;

function start(user) {
  timeline.restart(owner === user?.email);
  owner = user?.email;
  $('ended').hidden = true;
  theft.tell('');
}

// Signed out by oneself leaves nothing on the page. Who was signed out is told why, and keeps the time line to read.
function end(type, elsewhere, wasIn) {
  if (!wasIn) return say('');
  if (type === 'signed-out') {
    timeline.restart(false);
    owner = null;
    say(elsewhere ? 'You were signed out in another tab.' : 'You are signed out.');
    show();
    return $('email').focus();
  }
  write($('ended-why'), timeline.whyEnded()
    ?? 'The server did not accept the session any more: it was ended elsewhere, or it has expired.');
  $('ended').hidden = false;
  say('Your session has ended. Please sign in again.');
  $('ended').focus();
}

// ── Wiring ───────────────────────────────────────────────────────────────────────────────────────

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
    say('Signing in…');
    try {
      await session.login({ email: form.email.value.trim(), password: form.password.value });
    } catch (problem) {
      if (problem.code === 'credentials') form.password.select();
      throw problem;
    }
    form.reset();
    say('You are signed in.');
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
  automatic = false;
  try {
    await session.refresh();
    say(`Access token refreshed at ${new Date().toLocaleTimeString('en-GB')}.`);
  } finally {
    automatic = true;
  }
}));

const SCOPES = { 'sign-out': 'this', 'sign-out-everywhere': 'everywhere', 'sign-out-others': 'others' };
for (const [id, scope] of Object.entries(SCOPES)) {
  $(id).addEventListener('click', ({ currentTarget }) => busy(currentTarget, async () => {
    say('Signing out…');
    try {
      await session.logout({ scope });
    } catch (problem) {
      return report(problem, 'You are still signed in. ');
    }
    if (scope !== 'others') return;
    say('All other devices are signed out.');
    $('sessions-title').focus();
    await load();
  }));
}

async function revokeSession(id, name) {
  // 404: it has ended meanwhile, which is what was wanted.
  await ask(`/auth/sessions/${id}`, { method: 'DELETE' }).catch((problem) => {
    if (problem.status !== 404) throw problem;
  });
  say(`${name} is signed out.`);
  $('sessions-title').focus();
  await load();
}

function replay(generation, element) {
  busy(element, async () => {
    theft.tell('A thief presents the token…');
    const { status, words } = await ask('/api/stolen/replay', post({ generation }));
    theft.tell(`HTTP ${status}. ${words}`);
    await poll();
  });
}

// The clock is compared anew every second: a timer set for longer stops while a laptop sleeps.
let polledAt = 0;

function tick() {
  if (document.hidden || session.state.status !== 'signed-in') return;
  showCountdown();
  theft.show(replay);
  if (Date.now() - polledAt < POLL) return;
  polledAt = Date.now();
  // The next poll is soon; what ended the session is told by the session.
  poll().catch(() => {});
}

document.addEventListener('visibilitychange', tick);
setInterval(tick, 1000);
show();
// A page starts with nothing: a refresh finds out whether there is a session, and is tried again by itself.
session.refresh().catch(report);
