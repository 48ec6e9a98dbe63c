// Proofs of possession (DPoP, RFC 9449), for session.js with `new Session({ dpop: true })`: copy it beside that file.
//
// The key is made by the browser, and no script can read it: it signs, and never leaves. There is one per session
// service, in IndexedDB, for all tabs of the origin. It is no secret of a user's and stays after a logout.
//
//  * Where there is no IndexedDB, or it fails (some private windows), the key is in this tab's memory: the session then
//    ends with the page, and other tabs cannot share it. It ends, too, when the browser clears the database: Safari
//    after seven days without a visit, any browser when the disk is full. Ask for `navigator.storage.persist()`.
//  * A service of another origin must let the page read its nonces and challenges, and should let it read its time:
//    `Access-Control-Expose-Headers: DPoP-Nonce, WWW-Authenticate, Date`, and `Access-Control-Allow-Headers:
//    Authorization, Content-Type, DPoP`.
//  * `fetch` follows redirects by itself, and the proof goes along, to another origin, too, if that allows the header. It
//    names the first address and is of no use without the token; where the second address wants a proof, it answers 401.
//  * A script that has taken over the page can still have proofs made while the page is open. What it carries away is
//    of no use elsewhere, except for proofs made in advance: against these the server has nonces.

const DATABASE = 'session-keys';
const STORE = 'keys';
const DATABASE_WAIT = 5_000; // a browser's database that hangs does so for good
const CLOCK_ERROR = 5_000;   // less than any server minds

const KEY = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };

/** What is needed for `dpop`: pages over plain http have no WebCrypto, unless they are on this machine. */
export const canProve = () => Boolean(globalThis.crypto?.subtle);

/** A key that proofs are signed with. */
export class ProofKey {
  #pair;
  #jwk;

  constructor(pair, { kty, crv, x, y }) {
    this.#pair = pair;
    this.#jwk = { kty, crv, x, y };
  }

  /**
   * The key that is stored under this name. Where there is none, the one that is `held` becomes it, or a new one.
   * Rejects if it cannot be told whether there is one.
   */
  static async open(name, held) {
    let pair = held?.#pair;
    try {
      pair = await inTime(stored(name, pair));
    } catch (error) {
      if (error === hangs && !pair) throw error; // there may be a key that the session is bound to
      pair ??= await newPair();
    }
    if (pair === held?.#pair) return held;
    return new ProofKey(pair, await crypto.subtle.exportKey('jwk', pair.publicKey));
  }

  /** A proof for one request: `now` in milliseconds, `token` and `nonce` where there are any. */
  async prove({ method, url, token, nonce, now = Date.now() }) {
    const { origin, pathname } = new URL(url);
    const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: this.#jwk };
    const claims = {
      jti: base64url(crypto.getRandomValues(new Uint8Array(16))),
      htm: method,
      htu: origin + pathname,
      iat: Math.floor(now / 1000),
      ath: token === undefined ? undefined : base64url(await crypto.subtle.digest('SHA-256', bytes(token))),
      nonce,
    };
    const text = [header, claims].map((part) => base64url(bytes(JSON.stringify(part)))).join('.');
    return `${text}.${base64url(await crypto.subtle.sign(SIGNATURE, this.#pair.privateKey, bytes(text)))}`;
  }
}

/** What one session knows of keys, nonces and the server's clock. */
export class Proofs {
  #name;
  #key;
  #opening = null;
  #nonces = new Map(); // by origin
  #ahead = 0;          // of the service's clock over this device's, as far as it is sure

  constructor(name) {
    this.#name = name;
  }

  /** The key for a login or a refresh. It is looked up anew: another tab may have had to make another. */
  key() {
    this.#opening ??= ProofKey.open(this.#name, this.#key)
      .then((key) => (this.#key = key))
      .finally(() => { this.#opening = null; });
    return this.#opening;
  }

  prove(key, { method, url, token }) {
    const nonce = this.#nonces.get(new URL(url).origin);
    return key.prove({ method, url, token, nonce, now: Date.now() + this.#ahead });
  }

  /** Remembers the nonce of an answer. Tells whether there is one. */
  heard(url, headers) {
    const nonce = headers.get('dpop-nonce');
    if (nonce) this.#nonces.set(new URL(url).origin, nonce);
    return Boolean(nonce);
  }

  /**
   * Takes the time from an answer of the service, which no cache has kept. Tells whether a proof of before was off. The
   * server's clock was read after `sent` and before now, and is cut to seconds: what that explains is no difference.
   */
  heardTime(headers, sent) {
    const time = Date.parse(headers.get('date') ?? '');
    if (Number.isNaN(time)) return false;
    const before = this.#ahead;
    this.#ahead = Math.max(time - Date.now(), Math.min(0, time + 999 - sent));
    return Math.abs(this.#ahead - before) > CLOCK_ERROR;
  }
}

// ── The key in the database ──────────────────────────────────────────────────────────────────────────────────────

const hangs = new Error('The database of keys does not answer.');

function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(hangs), DATABASE_WAIT); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const newPair = () => crypto.subtle.generateKey(KEY, false, ['sign', 'verify']);

// Of two tabs that start at once the first to write wins, and both read what is there then.
async function stored(name, own) {
  const database = await open();
  try {
    const found = await transact(database, 'readonly', (store) => store.get(name));
    if (found) return found;
    const made = own ?? await newPair(); // ahead of the transaction, which ends where something else is waited for
    return await transact(database, 'readwrite', (store) => {
      store.add(made, name).onerror = (event) => {
        if (event.target.error.name !== 'ConstraintError') return; // which ends the transaction
        event.preventDefault();
        event.stopPropagation();
      };
      return store.get(name);
    });
  } finally {
    database.close();
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function transact(database, mode, work) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode, { durability: 'strict' });
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

// ── Forms ────────────────────────────────────────────────────────────────────────────────────────────────────────

const bytes = (text) => new TextEncoder().encode(text);

const base64url = (data) => btoa(String.fromCharCode(...new Uint8Array(data)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
