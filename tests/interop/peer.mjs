// The other side of tests/interop.rs, with the library jose: makes keys, signs and verifies as it is asked to.
//
// INTEROP_NODE_DIR  folder whose node_modules holds jose
//
// One request a line on standard input, one answer a line on standard output, both in JSON. Keys and sets of keys
// are texts inside, so that they arrive as the library wrote them.
//
// generate  algorithms                              { jwks, keys: [{ alg, kid, jwk, pem, thumbprint }] }
// sign      jwk, alg, kid, typ, claims              a token
// verify    keys, token, issuer, audience, typ, now { claims } or { refused }

import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const installed = createRequire(join(resolve(process.env.INTEROP_NODE_DIR), 'package.json'));
const jose = await import(pathToFileURL(installed.resolve('jose')));

async function makeKey(alg) {
  const kid = `jose-${alg}`;
  if (alg.startsWith('HS')) {
    const jwk = { kty: 'oct', k: randomBytes(64).toString('base64url'), kid, alg };
    return { alg, kid, jwk: JSON.stringify(jwk) };
  }
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const own = { kid, alg, use: 'sig' };
  const publicJwk = await jose.exportJWK(publicKey);
  return {
    alg,
    kid,
    jwk: JSON.stringify({ ...(await jose.exportJWK(privateKey)), ...own }),
    pem: await jose.exportPKCS8(privateKey),
    thumbprint: await jose.calculateJwkThumbprint(publicJwk),
    publicJwk: { ...publicJwk, ...own },
  };
}

async function generate({ algorithms }) {
  const made = await Promise.all(algorithms.map(makeKey));
  const jwks = JSON.stringify({ keys: made.flatMap(({ publicJwk }) => publicJwk ?? []) });
  return { jwks, keys: made.map(({ publicJwk, ...key }) => key) };
}

async function sign({ jwk, alg, kid, typ, claims }) {
  const key = await jose.importJWK(JSON.parse(jwk), alg);
  return new jose.SignJWT(claims).setProtectedHeader({ alg, kid, typ }).sign(key);
}

async function verify({ keys, token, issuer, audience, typ, now }) {
  const jwks = JSON.parse(keys);
  const isSet = jwks.keys !== undefined;
  const key = isSet ? jose.createLocalJWKSet(jwks) : await jose.importJWK(jwks);
  const options = { issuer, audience, typ, currentDate: new Date(now * 1000), requiredClaims: ['exp'] };
  try {
    // A shared key is plain bytes to jose, for any algorithm. In a set each key names its own.
    const verified = await jose.jwtVerify(token, key, isSet ? options : { ...options, algorithms: [jwks.alg] });
    return { claims: verified.payload };
  } catch (error) {
    if (!(error instanceof jose.errors.JOSEError)) throw error;
    return { refused: [error.code, error.claim].filter(Boolean).join(' ') };
  }
}

const requests = { generate, sign, verify };

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(await requests[request.do](request)));
}
