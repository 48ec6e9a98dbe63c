// The hello of ../src/bin/hello.rs on express, with jsonwebtoken in front of it. Prints its address.
//
//     server.mjs <HS256|RS256|ES256> KEY_FILE
//     server.mjs                               # without a check
//
// EXPRESS_DIR  folder whose node_modules holds express and jsonwebtoken

import { createPublicKey, createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const require = createRequire(join(resolve(process.env.EXPRESS_DIR), 'package.json'));
const express = require('express');
const jwt = require('jsonwebtoken');

const [algorithm, keyFile] = process.argv.slice(2);

// A key object is read once; given the text, jsonwebtoken would read it at each request.
function check() {
  const text = readFileSync(keyFile, 'utf8');
  const key = algorithm === 'HS256' ? createSecretKey(text.trim(), 'utf8') : createPublicKey(text);
  const options = {
    algorithms: [algorithm],
    issuer: 'https://auth.analytical.example',
    audience: 'https://api.analytical.example',
  };
  return (request, response, next) => {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ');
    try {
      if (scheme.toLowerCase() !== 'bearer') throw new Error('no bearer token');
      request.user = jwt.verify(token, key, options);
    } catch {
      response.status(401).set('WWW-Authenticate', 'Bearer').end();
      return;
    }
    next();
  };
}

const app = express();
// axum sends neither of the two headers.
app.disable('x-powered-by');
app.disable('etag');
if (algorithm) app.use(check());
app.get('/', (request, response) => {
  response.type('text/plain').send('hello');
});
const server = app.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${server.address().port}`));
