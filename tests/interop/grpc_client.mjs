// A gRPC client that shares no code with the server: @grpc/grpc-js. Prints what it saw of each call, as JSON.
//
//     grpc_client.mjs HOST:PORT < {"good": "TOKEN", "admin": "TOKEN"}

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.INTEROP_NODE_DIR}/`);
const { Client, Metadata, credentials, status } = require('@grpc/grpc-js');

const tokens = JSON.parse(readFileSync(0, 'utf8'));
const client = new Client(process.argv[2], credentials.createInsecure());

function encode(text) {
  const data = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x0a, data.length]), data]);
}

function decode(message) {
  if (message[0] !== 0x0a || message[1] !== message.length - 2) throw new Error('not a Text');
  return message.subarray(2).toString();
}

function bearer(token) {
  const metadata = new Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

const options = () => ({ deadline: Date.now() + 20_000 });
const refusal = (error) => [status[error.code], error.details];

function unary(path, text, token) {
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, encode, decode, text, bearer(token), options(),
      (error, answer) => resolve(error ? refusal(error) : ['OK', answer]));
  });
}

function all(call) {
  return new Promise((resolve) => {
    const texts = [];
    call.on('data', (text) => texts.push(text));
    call.on('error', (error) => resolve(refusal(error)));
    call.on('end', () => resolve(['OK', texts]));
  });
}

function repeat(text, token) {
  return all(client.makeServerStreamRequest(
    '/example.Greeter/Repeat', encode, decode, text, bearer(token), options()));
}

function chat(texts, token) {
  const call = client.makeBidiStreamRequest('/example.Greeter/Chat', encode, decode, bearer(token), options());
  const seen = all(call);
  texts.forEach((text) => call.write(text));
  call.end();
  return seen;
}

const { good, admin } = tokens;
console.log(JSON.stringify({
  'no token': await unary('/example.Greeter/Greet', 'Hello'),
  'a bad token': await unary('/example.Greeter/Greet', 'Hello', 'x.y.z'),
  'a good token': await unary('/example.Greeter/Greet', 'Hello', good),
  'no scope': await unary('/example.Admin/Stop', 'now', good),
  'the scope': await unary('/example.Admin/Stop', 'now', admin),
  'a stream': await repeat('Hello', good),
  'a stream without a token': await repeat('Hello'),
  'both sides stream': await chat(['one', 'two'], good),
  'both sides stream without a token': await chat(['one', 'two']),
}));
client.close();
