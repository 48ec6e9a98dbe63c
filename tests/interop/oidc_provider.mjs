// The other side of tests/remote_jwks_oidc.rs: an OpenID provider by the library oidc-provider, on this machine.
//
// INTEROP_NODE_DIR  folder whose node_modules holds oidc-provider
// PORT              of an earlier process, to take its place; a free one otherwise
// KEYS              the answer's `keys` of an earlier process, to sign with; new ones otherwise
//
// The first line on standard output says { issuer, keys }, in JSON. After it, one request a line on standard input, one
// answer a line on standard output, both in JSON. It ends with its input.
//
// token   resource, scope, alg  an access token, which a client has asked for with its own credentials
// rotate  keep                  new keys; those before them stay published if `keep` says so. { keys }

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// What the library has to say of production. It would be said on standard output, which is for the answers.
console.info = console.warn = () => {};

const installed = createRequire(join(resolve(process.env.INTEROP_NODE_DIR), 'package.json'));
const { default: Provider, errors } = await import(pathToFileURL(installed.resolve('oidc-provider')));

const CLIENT = 'worker';
const SECRET = 'a secret of nobody';
const RESOURCES = ['https://api.example', 'https://other.example'];

const server = createServer((request, response) => handle(request, response));
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

let keys = process.env.KEYS ? JSON.parse(process.env.KEYS) : makeKeys();
// Of the next token.
let alg;
let handle;
serve();

// As providers publish them: with `use` and `kid`, but without `alg`.
function makeKeys() {
  const pairs = [
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ed25519'),
  ];
  return pairs.map(({ privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: randomUUID() }));
}

// The library has its keys for life: other keys are another provider, at the same place.
function serve() {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT,
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    cookies: { keys: [randomUUID()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(context, resource) {
          if (!RESOURCES.includes(resource)) throw new errors.InvalidTarget();
          return {
            scope: 'orders:read orders:write',
            audience: resource,
            accessTokenFormat: 'jwt',
            accessTokenTTL: 600,
            jwt: { sign: { alg } },
          };
        },
      },
    },
    jwks: { keys },
  });
  provider.on('server_error', (context, error) => console.error(error));
  handle = provider.callback();
}

async function token({ resource, scope, alg: wanted }) {
  alg = wanted;
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${CLIENT}:${encodeURIComponent(SECRET)}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource, scope }),
    signal: AbortSignal.timeout(20_000),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
  return answer.access_token;
}

async function rotate({ keep }) {
  // The first one that can sign is the one that signs.
  keys = [...makeKeys(), ...(keep ? keys : [])];
  serve();
  return { keys };
}

const requests = { token, rotate };

console.log(JSON.stringify({ issuer, keys }));
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(await requests[request.do](request)));
}
process.exit();
