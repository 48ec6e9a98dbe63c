// The panel of the stolen token. The copies are on the server; this page learns their generations and what a replay
// would meet, and never a token.

import { $, button, el, keyed, seconds, write } from './dom.js';

const list = $('stolen');
const outcome = $('theft-outcome');

const FATES = {
  current: ['plain', 'Would be answered, without a new refresh token: this one was handed out a moment ago.'],
  rotated: ['warn', 'Would be answered with the next token. Your browser would be left with an old one.'],
  reissued: ['warn', 'Still inside the retry window: would be answered with the same successor that you hold.'],
  superseded: ['bad', 'Counts as stolen: would be refused, and end this session.'],
  reused: ['bad', 'Counts as stolen: would be refused, and end all sessions of this account.'],
  unknown: ['plain', 'Worthless: the session has ended.'],
  bound: ['plain', 'Worthless to a thief: your browser has a key that no script can copy. It would be refused, and nothing would end.'],
};

let tokens = [];
let askedAt = 0;

export function take(answer) {
  askedAt = Date.now();
  tokens = answer.tokens;
  write($('retry-window'), seconds(answer.windows.retry_ms));
  write($('hold-window'), seconds(answer.windows.hold_ms));
}

export function clear() {
  tokens = [];
  list.replaceChildren();
  write(outcome, '');
}

export function tell(words) {
  write(outcome, words);
}

// The countdowns; also once a second between two answers of the server. Without `changes_in_ms`, time changes nothing.
export function show(onReplay) {
  const passed = Date.now() - askedAt;
  keyed(list, tokens, ({ generation }) => generation, ({ generation }) => {
    const label = `Replay generation ${generation}`;
    const replay = button('Replay', label, () => onReplay(generation, replay));
    const name = el('p', 'name', el('strong', ''), ' ', el('span', ''));
    return el('li', '', el('div', '', name, el('p', 'fate'), el('p', 'due')), replay);
  }, (node, { generation, fate, age_ms: age, changes_in_ms: change }) => {
    const [look, words] = FATES[fate] ?? ['plain', ''];
    node.className = look;
    node.dataset.fate = fate;
    const newest = generation === tokens[0].generation;
    const [name, what, due] = node.firstElementChild.children;
    write(name.firstElementChild, `Generation ${generation}`);
    write(name.lastElementChild, `${newest ? 'in use, ' : ''}${seconds(age + passed)} old`);
    write(what, words);
    const left = change === null ? 0 : change - passed;
    write(due, left <= 0 ? '' : dueWords(fate, left));
  });
  const current = tokens[0]?.fate === 'current' ? tokens[0].changes_in_ms - passed : 0;
  const when = current > 0 ? `in ${seconds(current)} or later` : 'now';
  write($('theft-hint'), tokens.length > 1 ? ''
    : `No token was replaced yet. Refresh ${when}, or wait: the page soon does it by itself.`);
}

const dueWords = (fate, left) => (fate === 'reissued'
  ? `In ${seconds(left)} this token counts as stolen.` : `In ${seconds(left)} a refresh replaces it.`);
