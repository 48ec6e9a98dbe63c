// The time line: what the server did to the user's sessions, and what this page saw of it. The newest entry first.

import { $, deviceName, el, write } from './dom.js';

const list = $('timeline');
const older = $('timeline-older');
const summary = $('timeline-summary');
const SHOWN = 12;
const MOST = 100;

// By kind: how it looks, what happened, and what that means.
const SERVER = {
  opened: ['good', () => 'Session opened', () => 'The first refresh token was handed out.'],
  rotated: ['good', ({ generation }) => `Rotated to ${named(generation)}`,
    () => 'The refresh token was replaced by its successor.'],
  current: ['plain', ({ generation }) => `Kept ${named(generation)}`,
    () => 'This refresh token was handed out a moment ago: a new access token, and no rotation.'],
  reissued: ['warn', ({ generation }) => `Gave out ${named(generation)} again`,
    () => 'The token before it came inside the retry window: a second tab, a lost answer, or a thief.'],
  recovered: ['warn', () => 'Recovered', () => 'The store had lost rotations; the newest token counts.'],
  superseded: ['bad', () => 'Replaced token seen again: session ended',
    () => 'It came after the retry window. Perhaps theft, so nobody goes on with this session.'],
  reused: ['bad', () => 'Old token seen again: all sessions ended',
    () => 'It was replaced more than once, so two parties hold it.'],
  mismatch: ['bad', () => 'Foreign token refused', () => 'It was genuine, but the session never had it.'],
  expired: ['plain', () => 'Expired session refused', () => ''],
  unknown: ['plain', () => 'Refresh refused', () => 'The session has ended already.'],
  evicted: ['warn', () => 'Session ended', () => 'There were too many sessions; the longest unused had to go.'],
  ended: ['warn', () => 'Session ended', ({ why }) => sentence(why)],
  ended_all: ['warn', ({ sessions }) => (sessions === 1 ? '1 session ended' : `${sessions ?? 'All'} sessions ended at once`),
    ({ why }) => sentence(why)],
};

const PAGE = {
  'signed-in': ['plain', () => 'Signed in', ({ life }) => `Good for ${life} s`],
  refreshed: ['plain', () => 'New access token', ({ life }) => `Good for ${life} s`],
  'refresh-failed': ['warn', () => 'Refresh failed', ({ message }) => `The session is kept. ${message}`],
  ended: ['bad', () => 'Refresh refused', () => 'The access token is forgotten'],
  'signed-out': ['plain', () => 'Signed out', () => 'The access token is forgotten'],
};

// What ends a session other than by its own sign-out.
const ENDS = {
  superseded: () => 'The server saw an old refresh token again: one that had been replaced, and came after the retry '
    + 'window. It cannot tell you from a thief, so it ended this session for both. What the thief copied is worthless '
    + 'now.',
  reused: () => 'The server saw an old refresh token again: one that had been replaced more than once. Two parties '
    + 'hold it, so the server ended all sessions of this account. What the thief copied is worthless now.',
  ended: ({ user_agent: agent }) => `This session was ended from ${deviceName(agent)}.`,
  ended_all: ({ user_agent: agent }) => `All sessions of this account were ended from ${deviceName(agent)}.`,
  evicted: () => 'This account had too many sessions, and this one was the longest unused.',
};

const named = (generation) => (Number.isInteger(generation) ? `generation ${generation}` : 'a refresh token');
const sentence = (why) => (why ? `${why[0].toUpperCase()}${why.slice(1)}.` : '');

let after = 0;      // the number of the newest entry of the server that is shown
let ahead = 0;      // the server's clock minus this device's, in ms
let fresh = true;   // nothing of this session was asked for yet
let ending = null;  // the entry that ended this session

// For another user nothing is left; for the same one the server tells its part again, as seen from the new session.
export function restart(sameUser) {
  for (const node of [...list.children]) if (!sameUser || node.dataset.from === 'server') node.remove();
  after = 0;
  fresh = true;
  ending = null;
  write(summary, '');
  showOlder();
}

// The session is still there, after all: it was the one that was spared.
export function survived() {
  ending = null;
}

export const whyEnded = () => ending && ENDS[ending.kind](ending);

// What the page itself saw.
export function note(type, { elsewhere, lifetime, message }) {
  const life = Math.round((lifetime ?? 0) / 1000);
  insert({ at: Date.now(), kind: type, life, message, elsewhere }, 'page');
}

// Takes what the server answered. Returns what it means for the page: whether sessions came or went, and whether this
// one may have ended.
export function take({ now, newest, entries }) {
  if (newest < after) restart(true); // the server was started anew
  // Less than this may be the way of the answer, and would put effects before their causes.
  const difference = now - Date.now();
  ahead = Math.abs(difference) < 2_000 ? 0 : difference;
  after = newest;
  for (const entry of entries) insert({ ...entry, at: entry.at - ahead }, 'server');
  const lasting = fresh ? [] : entries;
  fresh = false;
  const ends = lasting.findLast(({ kind, own }) => kind in ENDS && (own || kind === 'reused' || kind === 'ended_all'));
  if (ends) ending = ends;
  const loud = lasting.findLast(({ kind, own }) => kind in ENDS || (kind === 'opened' && !own));
  if (loud) write(summary, `Time line: ${SERVER[loud.kind][1](loud)}.`);
  return { sessions: lasting.some(({ kind }) => kind in ENDS || kind === 'opened'), ended: Boolean(ends) };
}

export const query = () => `/api/timeline?after=${after}`;

function insert(entry, from) {
  const known = (from === 'server' ? SERVER : PAGE)[entry.kind];
  if (!known) return;
  const [look, title, meaning] = known;
  const when = new Date(entry.at);
  const time = el('time', '', when.toLocaleTimeString('en-GB'));
  time.dateTime = when.toISOString();
  const what = el('p', 'what', title(entry));
  const about = el('p', 'by');
  const text = meaning(entry);
  if (from === 'page') {
    about.append(el('span', '', entry.elsewhere ? 'Another tab' : 'This page'), el('span', '', text));
  } else {
    about.append(el('span', '', 'Server'));
    if (entry.session) about.append(el('span', '', entry.own ? 'this session' : `session ${entry.session}`));
    if (entry.user_agent) {
      const name = deviceName(entry.user_agent);
      about.append(name.startsWith('Thief/') ? el('span', 'thief', `asked by ${name}`) : el('span', '', name));
    }
  }
  const node = el('li', look, time, el('div', '', what, el('p', 'meaning', from === 'server' ? text : ''), about));
  node.dataset.at = entry.at;
  node.dataset.from = from;
  node.dataset.kind = entry.kind;
  const next = [...list.children].find((other) => Number(other.dataset.at) <= entry.at);
  list.insertBefore(node, next ?? null);
  while (list.children.length > MOST) list.lastElementChild.remove();
  showOlder();
}

function showOlder() {
  const more = list.children.length - SHOWN;
  const all = list.classList.contains('all');
  older.hidden = more <= 0;
  older.ariaExpanded = String(all);
  write(older, all ? 'Show fewer' : `Show ${more} older`);
}

older.addEventListener('click', () => {
  list.classList.toggle('all');
  showOlder();
});
