// What the scripts share that drive headless Chromium. Importing it starts the browser.
//
// BASE_URL        where the demo listens
// CHROMIUM        path of the browser
// PLAYWRIGHT_DIR  folder whose node_modules holds playwright-core
//
// One line per check; the first failure ends the run. Waits are on conditions, never on a clock.

import { createRequire } from 'node:module';
import { resolve } from 'node:path';

export const ADA = { email: 'ada@example.com', password: 'correct horse', role: 'admin' };
export const BOB = { email: 'bob@example.com', password: 'battery staple', role: 'user' };
export const COOKIE = '__Secure-refresh_token';

export const consoleLines = [];
export const unexpected = [];     // errors in the console that no check provoked
export const secrets = new Set(); // all refresh tokens that were ever set as a cookie
export const bodies = [];         // of all answers to the pages: [url, text]
export const reading = [];
const provoked = new Set();
let failed = false;

export const BASE_URL = urlFrom('BASE_URL');
export const OVER_TLS = BASE_URL.startsWith('https:');

// A browser that hangs must not hang the test run; playwright ends the browser with this process.
setTimeout(() => fail('not ok - the browser test took longer than four minutes'), 240_000).unref();

const { chromium } = createRequire(import.meta.url)(resolve(need('PLAYWRIGHT_DIR'), 'node_modules/playwright-core'));
export const browser = await chromium.launch({
  executablePath: need('CHROMIUM'),
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
}).catch((error) => fail(`Chromium did not start: ${error.message}`));

export function need(name) {
  return process.env[name] || fail(`the environment variable ${name} is not set`);
}

export function urlFrom(name) {
  return need(name).replace(/\/$/, '');
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

export async function check(name, body) {
  try {
    await body();
    console.log(`ok - ${name}`);
  } catch (error) {
    if (failed) return; // of the closed browser
    failed = true;
    console.error(`not ok - ${name}\n${error.stack ?? error}`);
    console.error(`--- console of the page ---\n${consoleLines.join('\n') || '(empty)'}`);
    await browser.close();
    process.exit(1);
  }
}

// The browser itself logs every refused request as an error; those that the checks provoke are fine.
// Returns how to take it back.
export function expectError(path, reason) {
  const entry = { path, reason };
  provoked.add(entry);
  return () => provoked.delete(entry);
}

function expected(message) {
  const { pathname } = new URL(message.location().url || BASE_URL);
  return [...provoked].some(({ path, reason }) => path === pathname && reason.test(message.text()));
}

async function readAnswer(response) {
  for (const { name, value } of await response.headersArray()) {
    const token = name.toLowerCase() === 'set-cookie' && value.split(';')[0].split('=')[1];
    if (token) secrets.add(token);
  }
  bodies.push([response.url(), await response.text()]);
}

function listen(page) {
  // An answer that was given up has no body to read.
  page.on('response', (response) => reading.push(readAnswer(response).catch(() => {})));
  page.on('console', (message) => {
    const line = `${message.type()}: ${message.text()} (${message.location().url})`;
    consoleLines.push(line);
    if (message.type() === 'error' && !expected(message)) unexpected.push(line);
  });
  page.on('pageerror', (error) => {
    consoleLines.push(`uncaught: ${error.stack}`);
    unexpected.push(`uncaught: ${error.message}`);
  });
}

export async function newContext() {
  // Over TLS the certificate is one that the example made for itself.
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: OVER_TLS });
  context.setDefaultTimeout(15_000);
  context.on('page', listen);
  return context;
}

export const isRefresh = (message) => new URL(message.url()).pathname === '/auth/refresh';

export async function refreshCookie(context) {
  return (await context.cookies(`${BASE_URL}/auth`)).find(({ name }) => name === COOKIE);
}
