// An OAuth client that shares no code with the server: oauth4webapi. Prints what it saw of each call, as JSON.
//
//     oauth.mjs URL < {"refresh_token": "TOKEN"}
//
// INTEROP_NODE_DIR  folder whose node_modules holds oauth4webapi

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const installed = createRequire(join(resolve(process.env.INTEROP_NODE_DIR), 'package.json'));
const oauth = await import(pathToFileURL(installed.resolve('oauth4webapi')));

const url = process.argv[2];
const server = { issuer: url, token_endpoint: `${url}/auth/refresh`, revocation_endpoint: `${url}/auth/revoke` };
const client = { client_id: 'interop' };
const options = (parameters) => ({
  // The server is on this machine.
  [oauth.allowInsecureRequests]: true,
  additionalParameters: parameters,
  signal: AbortSignal.timeout(20_000),
});

// What the library makes of an answer, or of a refusal.
async function outcome(request, process) {
  try {
    const response = await request;
    const cookies = response.headers.getSetCookie().length;
    return { cookies, ...await process(server, client, response) };
  } catch (error) {
    if (!(error instanceof oauth.ResponseBodyError)) throw error;
    return { status: error.status, error: error.error };
  }
}

const refresh = (token, parameters) => outcome(
  oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, options(parameters)),
  oauth.processRefreshTokenResponse);
const revoke = (token) => outcome(
  oauth.revocationRequest(server, client, oauth.None(), token, options()),
  async (server, client, response) => ({ answer: String(await oauth.processRevocationResponse(response)) }));
const grant = (type) => outcome(
  oauth.genericTokenEndpointRequest(server, client, oauth.None(), type, new URLSearchParams(), options()),
  oauth.processGenericTokenEndpointResponse);

const { refresh_token: token } = JSON.parse(readFileSync(0, 'utf8'));
const first = await refresh(token);
const narrower = await refresh(first.refresh_token, { scope: 'read' });
const wider = await refresh(narrower.refresh_token, { scope: 'read admin' });
console.log(JSON.stringify({
  first,
  narrower,
  wider,
  'another grant': await grant('urn:example:other'),
  'revoked garbage': await revoke('garbage'),
  'revoked an access token': await revoke(first.access_token),
  revoked: await revoke(narrower.refresh_token),
  'after it': await refresh(narrower.refresh_token),
}));
