// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PictureGoneError, createServerBackend, openWorkerBackend } from '../../static/js/decoder-backends.js';
import { createDecoderClient, createLatestWins } from '../../static/js/decoder-client.js';
import { ApiError } from '../../static/js/api.js';
import { createMessenger } from '../../static/js/messenger.js';
import { NO_PROMPTS, withClick } from '../../static/js/prompts.js';
import { fitFrame, settled } from './helpers.mjs';

/** @import { Backend, PictureForDecoder } from '../../static/js/decoder-backends.js' */
/** @import { Decoder } from '../../static/js/store.js' */
/** @import { Tier } from '../../static/js/tiers.js' */

const DECODED = { logits: new Float32Array(4), iou: new Float32Array(4) };
const DECODER = { precision: 'int8', contract: 'hover', contract_version: 1, sha256: 'aa', url: '/api/decoders/aa.onnx', bytes: 1 };

/** @param {number} key @returns {PictureForDecoder} */
function picture(key) {
  const tensor = { dtype: /** @type {const} */ ('F16'), shape: [1], bytes: Uint8Array.of(1, 2) };
  const embedding = { modelId: 'tiny', weightsHash: 'a', imageId: 'b', tensor };
  return { key, frame: fitFrame(100, 50), record: /** @type {any} */ ({ decode_url: '/decode' }), embedding };
}

/** @param {number} x */
function at(x) {
  return withClick(NO_PROMPTS, [x, 0], 1);
}

/** A client over fake backends. @param {Partial<Record<Tier, Partial<Backend>>>} backends */
function clientOver(backends) {
  /** @type {Decoder[]} */
  const statuses = [];
  /** @type {{x: number, key: number}[]} */
  const answers = [];
  /** @type {number[]} */
  const gone = [];
  const client = createDecoderClient({
    async open(tier) {
      const backend = backends[tier];
      if (!backend) throw new Error(`${tier} does not open`);
      return { tier, threads: 1, precision: 'int8', prepare: async () => {}, decode: async () => DECODED, dispose() {}, ...backend };
    },
    onStatus: (status) => statuses.push(status),
    onAnswer: ({ prompts, picture: { key } }) => answers.push({ x: prompts.clicks[0].x, key }),
    onPictureGone: (key) => gone.push(key),
    now: () => 0,
  });
  return { client, statuses, answers, gone };
}

/** Promises that the test settles by hand. */
function gate() {
  /** @type {((error?: Error) => void)[]} */
  const waiting = [];
  return {
    waiting,
    wait: () => new Promise((/** @type {(value: typeof DECODED) => void} */ resolve, reject) => {
      waiting.push((error) => (error ? reject(error) : resolve(DECODED)));
    }),
  };
}

/** A worker that answers as the test says. */
class FakeWorker extends EventTarget {
  /** @type {any[]} */
  sent = [];
  terminated = false;
  /** @param {any} message @param {any} transfer */
  postMessage(message, transfer) {
    this.sent.push(structuredClone(message, { transfer }));
  }
  /** @param {object} message */
  answer(message) {
    this.dispatchEvent(new MessageEvent('message', { data: message }));
  }
  terminate() {
    this.terminated = true;
  }
}

test('of the jobs that arrive while one runs only the newest runs next', async () => {
  const { wait, waiting } = gate();
  /** @type {number[]} */
  const ran = [];
  const queue = createLatestWins(async (/** @type {number} */ job) => {
    ran.push(job);
    await wait();
  });
  [1, 2, 3, 4].forEach(queue.submit);
  assert.deepEqual(ran, [1]);
  waiting[0]();
  await settled();
  assert.deepEqual(ran, [1, 4]);
});

test('a queue goes on after a job that throws', async () => {
  /** @type {number[]} */
  const ran = [];
  const queue = createLatestWins(async (/** @type {number} */ job) => {
    ran.push(job);
  });
  queue.submit(1);
  await settled();
  queue.submit(2);
  await settled();
  assert.deepEqual(ran, [1, 2]);
});

test('the newest question is answered, those between are skipped', async () => {
  const { wait, waiting } = gate();
  const { client, answers } = clientOver({ wasm: { decode: wait } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  [1, 2, 3].forEach((x) => client.ask(at(x)));
  await settled();
  waiting[0]();
  await settled();
  waiting[1]();
  await settled();
  assert.deepEqual(answers.map(({ x }) => x), [1, 3]);
});

test('an answer for a picture that is gone is dropped', async () => {
  const { wait, waiting } = gate();
  const { client, answers } = clientOver({ wasm: { decode: wait } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(1));
  await settled();
  client.setPicture(picture(2));
  waiting[0]();
  await settled();
  assert.deepEqual(answers, []);
  client.ask(at(2));
  await settled();
  waiting[1]();
  await settled();
  assert.deepEqual(answers, [{ x: 2, key: 2 }]);
});

test('a withdrawn question is not asked', async () => {
  const { wait, waiting } = gate();
  const { client } = clientOver({ wasm: { decode: wait } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(1));
  await settled();
  client.ask(at(2));
  client.ask(null);
  waiting[0]();
  await settled();
  assert.equal(waiting.length, 1);
});

test('the ladder goes down to the first tier that opens and keeps every reason', async () => {
  const { client, statuses } = clientOver({ wasm: {} });
  await client.start({ candidates: ['wasm-threads', 'wasm', 'server'], refused: [{ tier: 'webgpu', reason: 'no adapter' }] });
  const last = statuses.at(-1);
  assert.equal(last?.status === 'ready' && last.tier, 'wasm');
  assert.deepEqual(last?.refused, [
    { tier: 'webgpu', reason: 'no adapter' },
    { tier: 'wasm-threads', reason: 'wasm-threads does not open' },
  ]);
});

test('a tier that fails while decoding hands its question to the next', async () => {
  let disposed = false;
  const { client, statuses, answers } = clientOver({
    'wasm-threads': { decode: () => Promise.reject(new Error('out of memory')), dispose: () => (disposed = true) },
    wasm: {},
  });
  await client.start({ candidates: ['wasm-threads', 'wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(7));
  await settled();
  assert.deepEqual(answers, [{ x: 7, key: 1 }]);
  assert.ok(disposed);
  assert.deepEqual(statuses.at(-1)?.refused, [{ tier: 'wasm-threads', reason: 'out of memory' }]);
});

test('the next tier gets the picture before the question', async () => {
  /** @type {string[]} */
  const calls = [];
  const { client } = clientOver({
    'wasm-threads': { decode: () => Promise.reject(new Error('lost')) },
    wasm: { prepare: async ({ key }) => void calls.push(`prepare ${key}`), decode: async () => (calls.push('decode'), DECODED) },
  });
  await client.start({ candidates: ['wasm-threads', 'wasm'], refused: [] });
  client.setPicture(picture(3));
  client.ask(at(1));
  await settled();
  client.ask(at(2));
  await settled();
  assert.deepEqual(calls, ['prepare 3', 'decode', 'decode']);
});

test('when every tier fails the client says so and can be started again', async () => {
  const { client, statuses } = clientOver({ wasm: {} });
  await client.start({ candidates: ['server'], refused: [] });
  assert.equal(statuses.at(-1)?.status, 'failed');
  await client.start({ candidates: ['wasm'], refused: [] });
  assert.equal(statuses.at(-1)?.status, 'ready');
});

test('a picture that the server dropped is reported, not a failure of the tier', async () => {
  const { client, statuses, gone } = clientOver({ server: { decode: () => Promise.reject(new PictureGoneError()) } });
  await client.start({ candidates: ['server'], refused: [] });
  client.setPicture(picture(4));
  client.ask(at(1));
  await settled();
  assert.deepEqual(gone, [4]);
  assert.equal(statuses.at(-1)?.status, 'ready');
});

test('a question asked before the decoder has opened is answered once it has', async () => {
  const { client, answers } = clientOver({ wasm: {} });
  client.setPicture(picture(1));
  const starting = client.start({ candidates: ['wasm'], refused: [] });
  client.ask(at(5));
  await starting;
  await settled();
  assert.deepEqual(answers, [{ x: 5, key: 1 }]);
});

test('the worker gets a copy of the embedding, and the coordinates of the frame', async () => {
  const worker = new FakeWorker();
  const opening = openWorkerBackend({
    spawn: () => /** @type {any} */ (worker), tier: 'wasm', threads: 1, suspending: false, decoder: DECODER, onShare() {},
  });
  worker.answer({ id: 1, type: 'opened', milliseconds: 10 });
  const backend = await opening;
  const shown = picture(1);
  const preparing = backend.prepare(shown);
  worker.answer({ id: 2, type: 'prepared' });
  await preparing;
  assert.deepEqual([...(shown.embedding?.tensor.bytes ?? [])], [1, 2]);
  assert.deepEqual([...worker.sent[1].tensor.bytes], [1, 2]);

  const decoding = backend.decode(shown, at(50));
  worker.answer({ id: 3, type: 'decoded', ...DECODED });
  assert.deepEqual(await decoding, DECODED);
  assert.deepEqual([...worker.sent[2].coords], [512, 0, 0, 0]);
});

test('a worker that dies fails every request that waits', async () => {
  const worker = new FakeWorker();
  const opening = openWorkerBackend({
    spawn: () => /** @type {any} */ (worker), tier: 'wasm', threads: 1, suspending: false, decoder: DECODER, onShare() {},
  });
  worker.dispatchEvent(new Event('error'));
  await assert.rejects(opening, /could not start/);
  assert.ok(worker.terminated);
});

test('a worker that falls silent fails its tier', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const messenger = createMessenger(/** @type {any} */ (new FakeWorker()));
  const answer = messenger.request({ type: 'decode' }, { patience: 20_000 });
  t.mock.timers.tick(20_000);
  await assert.rejects(answer, /within 20 s/);
});

test('the download of the decoder reports its progress', async () => {
  const worker = new FakeWorker();
  /** @type {(number | null)[]} */
  const shares = [];
  const opening = openWorkerBackend({
    spawn: () => /** @type {any} */ (worker), tier: 'wasm', threads: 1, suspending: false, decoder: DECODER, onShare: (share) => shares.push(share),
  });
  worker.answer({ id: 1, type: 'progress', share: 0.5 });
  worker.answer({ id: 1, type: 'opened', milliseconds: 10 });
  await opening;
  assert.deepEqual(shares, [0.5]);
});

test('the server tier tells a dropped picture from a server that is gone', async () => {
  const failing = (/** @type {number} */ status) => createServerBackend({ decode: () => Promise.reject(new ApiError(status, 'title', 'detail')) });
  await assert.rejects(failing(404).decode(picture(1), at(1)), PictureGoneError);
  await assert.rejects(failing(0).decode(picture(1), at(1)), ApiError);
});
