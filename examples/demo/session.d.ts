/** The application's claims about the signed-in user, as the server answers them. */
export type User = Record<string, unknown>;

/** What is known of the session. Times are milliseconds since the epoch by this device's clock. */
export interface SessionState {
  /** `unknown` until the first refresh after a page load has been answered. */
  readonly status: 'unknown' | 'signed-in' | 'signed-out';
  readonly user: User | null;
  /** When the access token stops being good, and how long it was good for in all (ms). */
  readonly expiresAt: number | null;
  readonly lifetime: number | null;
  /** When the next refresh is due. */
  readonly refreshAt: number | null;
}

export type SessionChangeType =
  | 'signed-in'       // a login was answered, here or in another tab
  | 'refreshed'       // a new access token is held
  | 'refresh-failed'  // the server could not be reached or could not answer: the session is kept
  | 'ended'           // the server refused a refresh for good: sign in again
  | 'signed-out';     // a logout, here or in another tab

export interface SessionChange {
  readonly type: SessionChangeType;
  /** Whether another tab did it. */
  readonly elsewhere: boolean;
  readonly state: SessionState;
  /** For `refresh-failed`. */
  readonly error?: SessionError;
}

export type SessionErrorCode =
  | 'credentials'  // the login was refused
  | 'ended'        // the server refused the refresh: nobody is signed in (any more)
  | 'unavailable'  // no connection, or the server cannot answer now (5xx): try again after `retryAfter`
  | 'timeout'      // no answer in time
  | 'aborted'      // a login or a logout made this call pointless
  | 'failed';      // an answer that is not understood or not expected; `status` tells which

export class SessionError extends Error {
  readonly code: SessionErrorCode;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** Seconds. */
  readonly retryAfter?: number;
}

export interface SessionOptions {
  /** The mount point of the AuthService: a path or a URL. `/auth` by default. */
  base?: string | URL;
  /** Origins that are sent the access token, compared exactly. The page's own and that of `base` by default. */
  origins?: readonly string[];
  /**
   * Binds the tokens to a key of this browser's (DPoP, RFC 9449). Needs `dpop.js`, a page over https, and a service that
   * is set up for it. `false` by default.
   */
  dpop?: boolean;
}

export class Session {
  /** Throws a `TypeError` for an option that cannot be meant, or cannot be had (`dpop` without https). */
  constructor(options?: SessionOptions);
  /** A snapshot; never holds a token. */
  readonly state: SessionState;
  /** POST {base}/login. Resolves to the user. */
  login(credentials: unknown): Promise<User>;
  /** Ends the session on the server. `everywhere`: all sessions of the user; `others`: all but this one, which stays. Rejects, and stays signed in, if the server could not. */
  logout(options?: { scope?: 'this' | 'everywhere' | 'others' }): Promise<void>;
  /** A refresh now, or the one in flight. Resolves to the user. */
  refresh(): Promise<User>;
  /** Like `fetch`, with the access token for the origins allowed; retried once after a 401 with a new token, and with `dpop` once more for a nonce. */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /** Tells of every change. Returns how to stop. */
  onChange(listener: (change: SessionChange) => void): () => void;
  /** Stops timers, listeners and the channel. The session on the server stays. */
  close(): void;
}
