// Drives the demo page in headless Chromium, as a person would, and looks where a thief would.
//
// SCREENSHOTS     optional folder for pictures of both states; what else is needed, support.mjs says

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  ADA, BASE_URL, BOB, OVER_TLS, bodies, browser, check, expectError, isRefresh, newContext, reading, refreshCookie,
  secrets, unexpected,
} from './support.mjs';

const SCREENSHOTS = process.env.SCREENSHOTS;
const WIDTHS = [390, 1280];
const THEMES = ['light', 'dark'];
// The demo may hold a fresh cookie for 4 seconds before it rotates; the tabs must live to see that.
const ROTATION_DEADLINE = 60_000;

let outageOver;

async function open(context) {
  const page = await context.newPage();
  await page.goto(BASE_URL);
  return page;
}

async function signedIn(page) {
  await page.locator('#signed-in').waitFor();
  await page.locator('#claims dd').first().waitFor();
  await page.locator('#sessions li').first().waitFor();
}

const signedOut = (page) => page.locator('#sign-in').waitFor();
const settle = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

async function assertSignedOut(page) {
  await signedOut(page);
  assert.equal(await page.locator('#signed-in').isVisible(), false, 'the signed-in section shows');
  assert.equal(await page.locator('#claims').textContent(), '', 'claims are left behind');
}

async function submit(page, { email, password }) {
  await page.getByLabel('Email', { exact: true }).fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

async function signIn(page, account) {
  await signedOut(page);
  await submit(page, account);
  await signedIn(page);
}

async function press(page, name) {
  const button = page.getByRole('button', { name, exact: true });
  await button.focus();
  await page.keyboard.press('Enter');
}

// The copy of a token, once a replay of it would meet this.
const copyWith = (page, generation, fate) =>
  page.locator(`#stolen li[data-key="${generation}"][data-fate="${fate}"]`).waitFor();
const entries = (page, kind) => page.locator(`#timeline li[data-kind="${kind}"]`);

// Waits until the newest token may be replaced, and has it replaced.
async function rotate(page, from) {
  await copyWith(page, from, 'rotated');
  assert.equal((await refreshNow(page)).status(), 200);
  await copyWith(page, from + 1, 'current');
}

async function endedBecause(page, reason) {
  await page.locator('#ended').waitFor();
  await assertSignedOut(page);
  assert.match(await page.locator('#ended').innerText(), reason);
}

async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await signedOut(page);
}

async function refreshNow(page) {
  const answer = page.waitForResponse((response) => isRefresh(response.request()));
  await page.getByRole('button', { name: 'Refresh now', exact: true }).click();
  const response = await answer;
  await page.locator('#refresh-now[aria-busy="false"]').waitFor({ state: 'attached' });
  return response;
}

// Lets the tabs' refreshes go only when all have been asked for: clicks alone come one after the other,
// and the later tab would already send what the earlier one got.
async function refreshAtOnce(context, tabs) {
  let waiting = 0;
  let go;
  const all = new Promise((done) => { go = done; });
  await context.route('**/auth/refresh', async (route) => {
    waiting += 1;
    if (waiting === tabs.length) go();
    await all;
    await route.continue();
  });
  const answers = await Promise.all(tabs.map(refreshNow));
  await context.unroute('**/auth/refresh');
  return answers.map((answer) => answer.status());
}

async function errorText(page) {
  const error = page.locator('#error:not(:empty)');
  await error.waitFor();
  assert.equal(await error.getAttribute('role'), 'alert');
  return error.textContent();
}

async function assertFits(page, state) {
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      await settle(page);
      const [content, room] = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return [scrollWidth, clientWidth];
      });
      assert.ok(content <= room, `${state}, ${width} px, ${colorScheme}: ${content} px of content`);
      if (SCREENSHOTS) {
        await page.screenshot({ path: join(SCREENSHOTS, `${state}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize({ width: 1280, height: 800 });
}

if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
expectError('/auth/login', /status of 401/);
expectError('/auth/refresh', /status of 401/);

const context = await newContext();
const page = await open(context);

await check('a first visit shows the sign-in form, the demo accounts, and no error', async () => {
  await assertSignedOut(page);
  const text = await page.locator('#sign-in').innerText();
  for (const account of [ADA, BOB]) {
    assert.ok(text.includes(account.email) && text.includes(account.password), `no hint for ${account.email}`);
  }
  assert.equal(await page.locator('#error').textContent(), '');
});

await check('over TLS the page comes by HTTP/2', async () => {
  const protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  assert.equal(protocol, OVER_TLS ? 'h2' : 'http/1.1');
});

await check('a wrong password shows an error and stays signed out', async () => {
  await submit(page, { email: ADA.email, password: 'wrong horse' });
  assert.match(await errorText(page), /do not match/);
  await assertSignedOut(page);
  assert.equal(await refreshCookie(context), undefined, 'a cookie was set');
  await assertFits(page, 'wrong-password');
});

await check('an outage shows its own error', async () => {
  outageOver = expectError('/auth/login', /status of 503/);
  await page.route('**/auth/login', (route) => route.fulfill({ status: 503, json: { error: 'unavailable' } }));
  await submit(page, ADA);
  await page.locator('#error', { hasText: 'unavailable' }).waitFor();
  await assertSignedOut(page);
  await page.unroute('**/auth/login');
});

await check('signing in by keyboard alone shows the claims and clears the error', async () => {
  await page.getByLabel('Email', { exact: true }).fill('');
  await page.keyboard.type(ADA.email);
  await page.keyboard.press('Tab');
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type(ADA.password);
  await page.keyboard.press('Enter');
  await signedIn(page);
  outageOver();
  const focused = () => page.evaluate(() => {
    const { id, textContent } = document.activeElement;
    return [id || textContent, getComputedStyle(document.activeElement).outlineStyle];
  });
  assert.equal((await focused())[0], 'who');
  for (const id of ['sign-out', 'refresh-now', 'sign-out-everywhere', 'Replay']) {
    await page.keyboard.press('Tab');
    assert.deepEqual(await focused(), [id, 'solid']);
  }
  const names = await page.locator('#claims dt').allTextContents();
  const values = await page.locator('#claims dd').allTextContents();
  assert.deepEqual(names, ['sub', 'email', 'role', 'sid']);
  assert.equal(values[1], ADA.email);
  assert.equal(values[2], ADA.role);
  assert.ok(values[0].length > 1 && values[3].length > 1, `sub ${values[0]}, sid ${values[3]}`);
  assert.match(await page.locator('#countdown').textContent(), /^\d+:\d\d$/);
  assert.equal(await page.locator('#error').textContent(), '');
});

await check('the refresh cookie is HttpOnly, Secure, SameSite=Strict, Path=/auth', async () => {
  const { httpOnly, secure, sameSite, path } = await refreshCookie(context);
  assert.deepEqual({ httpOnly, secure, sameSite, path },
    { httpOnly: true, secure: true, sameSite: 'Strict', path: '/auth' });
});

await check('no token is stored, and none can be read by a script of the page', async () => {
  const [answer] = await Promise.all([
    page.waitForResponse((response) => isRefresh(response.request())),
    page.reload(),
  ]);
  await signedIn(page);
  const answerText = await answer.text();
  const tokens = [(await refreshCookie(context)).value, JSON.parse(answerText).access_token];
  assert.ok(!answerText.includes(tokens[0]), 'the refresh token is in the answer');
  const seen = await page.evaluate(async () => ({
    cookie: document.cookie,
    local: Object.entries(localStorage),
    session: Object.entries(sessionStorage),
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    history: JSON.stringify([history.state, location.href, name]),
    page: document.documentElement.outerHTML,
    globals: Object.values(window).filter((value) => typeof value === 'string'),
  }));
  assert.equal(seen.cookie, '');
  for (const place of ['local', 'session', 'databases', 'caches']) assert.deepEqual(seen[place], [], place);
  for (const token of tokens) assert.ok(!JSON.stringify(seen).includes(token), 'a token is in reach of scripts');
});

await check('a reload keeps the user signed in, with one refresh for all that ask at once', async () => {
  let refreshes = 0;
  const count = (request) => { refreshes += Number(isRefresh(request)); };
  page.on('request', count);
  await page.reload();
  await signedIn(page);
  page.off('request', count);
  assert.equal(refreshes, 1);
  assert.ok((await page.locator('#claims').textContent()).includes(ADA.email));
});

await check('the session list marks this device, and only this one', async () => {
  const other = await newContext();
  const elsewhere = await open(other);
  await signIn(elsewhere, ADA);
  assert.equal(await elsewhere.locator('#sessions li').count(), 2);
  assert.equal(await elsewhere.locator('#sessions li', { hasText: 'this device' }).count(), 1);
  await assertFits(elsewhere, 'signed-in');
  await signOut(elsewhere);
  await signIn(elsewhere, BOB);
  assert.equal(await elsewhere.locator('#sessions li').count(), 1, "another user's sessions show");
  assert.equal(await elsewhere.locator('#claims dd').nth(2).textContent(), BOB.role);
  await signOut(elsewhere);
  await other.close();
});

await check('Refresh now works', async () => {
  assert.equal((await refreshNow(page)).status(), 200);
  await page.locator('#status', { hasText: 'refreshed' }).waitFor();
  await signedIn(page);
});

await check('the access token is renewed before it expires', async () => {
  const ahead = await context.newPage();
  await ahead.clock.install();
  const first = ahead.waitForResponse((response) => isRefresh(response.request()));
  await ahead.goto(BASE_URL);
  const { expires_in: life } = await (await first).json();
  await signedIn(ahead);
  const second = ahead.waitForResponse((response) => isRefresh(response.request()));
  await ahead.clock.fastForward(life * 1000 - 5000);
  assert.equal((await second).status(), 200);
  await ahead.locator('#status', { hasText: 'automatically' }).waitFor();
  await ahead.close();
});

await check('the time line shows a rotation after Refresh now, and a refresh that keeps the token', async () => {
  await page.locator('#stolen li[data-fate="rotated"]').first().waitFor();
  const newest = Number(await page.locator('#stolen li').first().getAttribute('data-key'));
  await refreshNow(page);
  await entries(page, 'rotated').filter({ hasText: `generation ${newest + 1}` }).waitFor();
  await refreshNow(page);
  await entries(page, 'current').filter({ hasText: `Kept generation ${newest + 1}` }).first().waitFor();
  const times = await page.locator('#timeline li').evaluateAll((all) => all.map(({ dataset }) => Number(dataset.at)));
  assert.deepEqual(times, times.toSorted((a, b) => b - a), 'the newest entry is not the first');
  assert.ok(await entries(page, 'refreshed').count() >= 2, 'what the page saw is missing');
});

await check('two tabs refreshing at once stay signed in, across a rotation', async () => {
  // Without Web Locks, which would let one tab wait for the other: the server's rule alone must do.
  const tabs = await Promise.all([0, 1].map(async () => {
    const tab = await context.newPage();
    await tab.addInitScript(() => { delete Navigator.prototype.locks; });
    await tab.goto(BASE_URL);
    await signedIn(tab);
    return tab;
  }));
  const before = (await refreshCookie(context)).value;
  const deadline = Date.now() + ROTATION_DEADLINE;
  let afterRotation = 0;
  for (let round = 1; round <= 5 || afterRotation < 3; round += 1) {
    assert.ok(Date.now() < deadline, 'the refresh token was never rotated');
    assert.deepEqual(await refreshAtOnce(context, tabs), [200, 200], `round ${round}`);
    if ((await refreshCookie(context)).value !== before) afterRotation += 1;
  }
  await Promise.all(tabs.map((tab) => tab.reload()));
  await Promise.all(tabs.map(signedIn));
  await Promise.all(tabs.map((tab) => tab.close()));
});

await check('a refresh that ends after sign-out writes nothing back', async () => {
  // A real answer, kept back: its token is still good, so a page that took it would look signed in.
  const late = await (await refreshNow(page)).text();
  let arrived;
  let release;
  const held = new Promise((done) => { arrived = done; });
  const released = new Promise((done) => { release = done; });
  const uses = [];
  await page.route('**/auth/refresh', async (route) => {
    arrived();
    await released;
    await route.fulfill({ contentType: 'application/json', body: late }).catch(() => {}); // given up meanwhile
  });
  await page.getByRole('button', { name: 'Refresh now', exact: true }).click();
  await held;
  await signOut(page);
  page.on('request', (request) => { if (request.headers().authorization) uses.push(request.url()); });
  release();
  await page.unrouteAll({ behavior: 'wait' }); // without the wait the answer would go to nobody
  await page.locator('#refresh-now[aria-busy="false"]').waitFor({ state: 'attached' });
  await settle(page);
  await assertSignedOut(page);
  assert.deepEqual(uses, [], 'the late token was used');
  page.removeAllListeners('request');
});

await check('sign-out clears the cookie, and a reload stays signed out', async () => {
  await signIn(page, ADA);
  assert.ok(await refreshCookie(context));
  await signOut(page);
  assert.equal(await refreshCookie(context), undefined, 'the cookie is still there');
  await page.reload();
  await assertSignedOut(page);
  await assertFits(page, 'signed-out');
});

await check('sign-out in one tab signs the other out', async () => {
  await signIn(page, ADA);
  const other = await open(context);
  await signedIn(other);
  await signOut(page);
  await assertSignedOut(other);
  await other.locator('#status', { hasText: 'another tab' }).waitFor();
  assert.equal(await other.locator('#timeline li').count(), 0, 'the time line is left behind');
  await other.close();
});

const second = await newContext();
const elsewhere = await open(second);

await check('a second device appears, is revoked, and says so', async () => {
  await signIn(page, ADA);
  await signIn(elsewhere, ADA);
  await page.locator('#sessions li').nth(1).waitFor();
  await page.locator('#sessions').getByRole('button', { name: /^Revoke / }).click();
  await endedBecause(elsewhere, /was ended from Chrome/);
  await page.locator('#sessions li').nth(1).waitFor({ state: 'detached' });
  await signedIn(page);
});

await check('other devices are signed out, and this one stays', async () => {
  await signIn(elsewhere, ADA);
  await page.locator('#sign-out-others:not([disabled])').waitFor();
  await press(page, 'Sign out other devices');
  await endedBecause(elsewhere, /All sessions of this account were ended/);
  assert.equal((await refreshNow(page)).status(), 200);
  await signedIn(page);
});

await check('sign out everywhere signs the other device out, too', async () => {
  await signIn(elsewhere, ADA);
  await press(page, 'Sign out everywhere');
  await assertSignedOut(page);
  assert.equal(await refreshCookie(context), undefined, 'the cookie is still there');
  await endedBecause(elsewhere, /All sessions of this account were ended/);
});

await check('a token stolen inside the retry window gets the same successor; later it ends the session', async () => {
  await signIn(elsewhere, ADA);
  await signIn(page, ADA);
  await copyWith(page, 0, 'current');
  await rotate(page, 0);
  await copyWith(page, 0, 'reissued');
  assert.match(await page.locator('#stolen').innerText(), /In \d+ s this token counts as stolen/);
  const held = (await refreshCookie(context)).value;
  await press(page, 'Replay generation 0');
  await page.locator('#theft-outcome', { hasText: 'HTTP 200. The server answered the thief with the same' }).waitFor();
  await entries(page, 'reissued').filter({ hasText: 'Thief/1.0' }).waitFor();
  assert.equal((await refreshCookie(context)).value, held, 'the replay changed the cookie of the page');
  await signedIn(page);
  await assertFits(page, 'theft');

  await copyWith(page, 0, 'superseded');
  await press(page, 'Replay generation 0');
  await endedBecause(page, /saw an old refresh token again.*after the retry window/);
  await entries(page, 'superseded').filter({ hasText: 'Thief/1.0' }).waitFor();
  await assertFits(page, 'theft-found');
  assert.equal((await refreshNow(elsewhere)).status(), 200, 'the session of the other device ended, too');
});

await check('a token that was replaced twice ends all sessions', async () => {
  await signIn(page, ADA);
  await copyWith(page, 0, 'current');
  await rotate(page, 0);
  await rotate(page, 1);
  await copyWith(page, 0, 'reused');
  await press(page, 'Replay generation 0');
  await endedBecause(page, /replaced more than once/);
  await entries(page, 'reused').filter({ hasText: 'Thief/1.0' }).waitFor();
  await endedBecause(elsewhere, /replaced more than once/);
});

await check('no answer that a page received holds a refresh token', async () => {
  await Promise.all(reading);
  assert.ok(secrets.size > 10 && bodies.length > 50, `${secrets.size} tokens, ${bodies.length} answers`);
  assert.ok(bodies.some(([url]) => url.endsWith('/api/stolen/replay')));
  for (const [url, text] of bodies) {
    for (const secret of secrets) assert.ok(!text.includes(secret), `a refresh token is in the answer of ${url}`);
  }
});

await check('the console holds no error that was not provoked', async () => {
  assert.deepEqual(unexpected, []);
});

await browser.close();
