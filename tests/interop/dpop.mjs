// The other side of tests/dpop_interop.rs: clients that prove their keys with the libraries dpop and oauth4webapi, and what
// jose and oauth4webapi make of proofs of ours. Does as it is asked to.
//
// INTEROP_NODE_DIR  folder whose node_modules holds the libraries
//
// One request a line on standard input, one answer a line on standard output, both in JSON.
//
// key      alg                                        the thumbprint of a new key of dpop's
// prove    alg, method, url, token, nonce             a proof by it
// check    proof, token                               { header, claims, thumbprint, ath } by jose, or { refused }
// resource jwks, issuer, audience, method, url,       what a resource server of oauth4webapi's says: { subject }, or
//          authorization, proof                       { refused }
// client   alg, name                                  the thumbprint of a new key of an oauth4webapi client's
// visit    auth, resource, token                      what that client sees of each call

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const installed = createRequire(join(resolve(process.env.INTEROP_NODE_DIR), 'package.json'));
const dpop = await import(pathToFileURL(installed.resolve('dpop')));
const jose = await import(pathToFileURL(installed.resolve('jose')));
const oauth = await import(pathToFileURL(installed.resolve('oauth4webapi')));

const keys = new Map();

async function key({ alg }) {
  keys.set(alg, await dpop.generateKeyPair(alg));
  return dpop.calculateThumbprint(keys.get(alg).publicKey);
}

const prove = ({ alg, method, url, token, nonce }) =>
  dpop.generateProof(keys.get(alg), url, method, nonce ?? undefined, token ?? undefined);

async function check({ proof, token }) {
  try {
    const verified = await jose.jwtVerify(proof, jose.EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60 });
    const header = verified.protectedHeader;
    return {
      header,
      claims: verified.payload,
      thumbprint: await jose.calculateJwkThumbprint(header.jwk),
      ath: token && createHash('sha256').update(token).digest('base64url'),
    };
  } catch (error) {
    if (!(error instanceof jose.errors.JOSEError)) throw error;
    return { refused: error.code };
  }
}

async function resource({ jwks, issuer, audience, method, url, authorization, proof }) {
  const request = new Request(url, { method, headers: { authorization, dpop: proof } });
  const now = Math.floor(Date.now() / 1000);
  try {
    const claims = await oauth.validateJwtAccessToken(
      { issuer, jwks_uri: `${issuer}/jwks` }, request, audience,
      { requireDPoP: true, [oauth.jwksCache]: { jwks: JSON.parse(jwks), uat: now } });
    return { subject: claims.sub };
  } catch (error) {
    if (!(error instanceof oauth.OperationProcessingError)) throw error;
    return { refused: [error.code, error.cause?.claim].filter(Boolean).join(' ') };
  }
}

const client = { client_id: 'interop' };
let handle;

async function newHandle({ alg, name }) {
  const pair = await oauth.generateKeyPair(alg);
  // A key for Ed25519 signs under either of its names.
  const rename = { [oauth.modifyAssertion]: (header) => { header.alg = name; } };
  return oauth.DPoP(client, pair, rename);
}

async function startClient(request) {
  handle = await newHandle(request);
  return handle.calculateThumbprint();
}

async function visit({ alg, name, auth, resource, token }) {
  const server = { issuer: auth, token_endpoint: `${auth}/auth/refresh` };
  const options = (DPoP) => ({
    // The servers are on this machine.
    [oauth.allowInsecureRequests]: true,
    DPoP,
    signal: AbortSignal.timeout(20_000),
  });

  // What the library makes of an answer, or of a refusal.
  async function outcome(call) {
    try {
      return await call();
    } catch (error) {
      const nonce = oauth.isDPoPNonceError(error);
      if (error instanceof oauth.ResponseBodyError) return { status: error.status, error: error.error, nonce };
      if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
      const challenges = error.cause.map(({ scheme, parameters }) => [scheme, parameters.error, parameters.algs]);
      return { status: error.status, challenges, nonce };
    }
  }
  const refresh = (DPoP, token) => outcome(async () => {
    const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, options(DPoP));
    return oauth.processRefreshTokenResponse(server, client, response);
  });
  const get = (DPoP, token) => outcome(async () => {
    const url = new URL(`${resource}/orders?page=2#top`);
    const response = await oauth.protectedResourceRequest(token, 'GET', url, undefined, null, options(DPoP));
    return { status: response.status, body: await response.text() };
  });

  const thief = await newHandle({ alg, name });
  const seen = {};
  const record = async (name, call) => { seen[name] = await call; return seen[name]; };
  await record('without a key', refresh(undefined, token));
  await record('without a nonce', refresh(handle, token));
  const first = await record('first', refresh(handle, token));
  await record('second', refresh(handle, first.refresh_token));
  const latest = seen.second.refresh_token;
  await record('another key, without a nonce', refresh(thief, latest));
  await record('another key', refresh(thief, latest));

  const access = seen.second.access_token;
  await record('resource without a nonce', get(handle, access));
  await record('resource', get(handle, access));
  await record('resource again', get(handle, access));
  await record('resource as bearer', get(undefined, access));
  await record('resource with another key, without a nonce', get(thief, access));
  await record('resource with another key', get(thief, access));
  return seen;
}

const requests = { key, prove, check, resource, client: startClient, visit };

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(await requests[request.do](request)));
}
