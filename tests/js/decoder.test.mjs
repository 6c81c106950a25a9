// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PictureGoneError, createServerBackend, openWorkerBackend } from '../../static/js/decoding/backends.js';
import { createDecoderClient, createLatestWins, createMemory } from '../../static/js/decoding/client.js';
import { ApiError } from '../../static/js/server/api.js';
import { createMessenger } from '../../static/js/messenger.js';
import { NO_PROMPTS, withClick } from '../../static/js/masks/prompts.js';
import { fitFrame, settled } from './helpers.mjs';

/** @import { Backend, PictureForDecoder } from '../../static/js/decoding/backends.js' */
/** @import { Question } from '../../static/js/masks/prompts.js' */
/** @import { Decoder } from '../../static/js/state/state.js' */
/** @import { Tier } from '../../static/js/decoding/tiers.js' */

const DECODED = { logits: new Float32Array(4), iou: new Float32Array(4) };
const FILE = { sha256: 'aa', url: '/api/decoders/aa', bytes: 1 };
const FILES = { prepare: FILE, prepare_with_mask: FILE, point: FILE, kernel: FILE };
const DECODER = { precision: 'int8', contract: 'hover', contract_version: 2, files: FILES };
const TIMINGS = { runtime_download: 1, decoder_download: 1, session_creation: 1, warm_up: 10 };

/** @param {number} key @returns {PictureForDecoder} */
function picture(key) {
  const tensor = { dtype: /** @type {const} */ ('F16'), shape: [1], bytes: Uint8Array.of(1, 2) };
  const embedding = { modelId: 'tiny', weightsHash: 'a', imageId: 'b', tensor };
  return { key, frame: fitFrame(100, 50), record: /** @type {any} */ ({ decode_url: '/decode' }), embedding };
}

/** @param {number} x @param {Float32Array | null} feedback @returns {Question} */
function at(x, feedback = null) {
  return { prompts: withClick(NO_PROMPTS, [x, 0], 1), feedback, purpose: 'step' };
}

/** A backend on a fake worker that has opened. */
async function openedBackend() {
  const worker = new FakeWorker();
  const opening = openWith(worker);
  worker.answer({ id: 1, type: 'opened', timings: TIMINGS });
  return { worker, backend: await opening };
}

/** @param {FakeWorker} worker @param {(share: number | null) => void} onShare */
function openWith(worker, onShare = () => {}) {
  const spawn = () => /** @type {any} */ (worker);
  return openWorkerBackend({
    spawn, tier: 'wasm', threads: 1, suspending: false, root: 'http://example.org/', decoder: DECODER, onShare, onTimings() {},
  });
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
      const fake = { prepare: async () => {}, decode: async () => DECODED, dispose() {} };
      return { tier, threads: 1, precision: 'int8', ...fake, ...backend };
    },
    onStatus: (status) => statuses.push(status),
    onAnswer: ({ question, picture: { key } }) => answers.push({ x: question.prompts.clicks[0].x, key }),
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
    /** @returns {Promise<typeof DECODED>} */
    wait: () => new Promise((resolve, reject) => {
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
  const refused = [{ tier: /** @type {const} */ ('webgpu'), reason: 'no adapter' }];
  await client.start({ candidates: ['wasm-threads', 'wasm', 'server'], refused });
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
    wasm: {
      prepare: async ({ key }) => void calls.push(`prepare ${key}`),
      decode: async () => (calls.push('decode'), DECODED),
    },
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

test('a tier that dies with a fed-back mask loses neither the click nor the mask', async () => {
  const feedback = Float32Array.of(1, 2);
  /** @type {unknown[]} */
  const calls = [];
  let alive = true;
  const { client, answers } = clientOver({
    'wasm-threads': { decode: () => (alive ? Promise.resolve(DECODED) : Promise.reject(new Error('lost'))) },
    wasm: { prepare: async (_, mask) => void calls.push(mask), decode: async (_, { prompts, feedback: mask }) => {
      calls.push(prompts.clicks[0].x, mask);
      return DECODED;
    } },
  });
  await client.start({ candidates: ['wasm-threads', 'wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(1));
  await settled();
  alive = false;
  client.ask(at(2, feedback));
  await settled();
  assert.deepEqual(answers.map(({ x }) => x), [1, 2]);
  assert.deepEqual(calls, [feedback, 2, feedback]);
});

test('a picture and a fed-back mask are prepared once for all the questions about them', async () => {
  const feedback = new Float32Array(1);
  /** @type {unknown[]} */
  const prepared = [];
  const { client } = clientOver({ wasm: { prepare: async (_, mask) => void prepared.push(mask) } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  for (const question of [at(1), at(2), at(3, feedback), at(4, feedback), at(5)]) {
    client.ask(question);
    await settled();
  }
  assert.deepEqual(prepared, [null, feedback, null]);
});

test('an expected mask is prepared while nothing else waits, and then costs the click nothing', async () => {
  const feedback = new Float32Array(1);
  /** @type {string[]} */
  const calls = [];
  const { client } = clientOver({
    wasm: {
      prepare: async (_, mask) => void calls.push(`prepare ${mask !== null}`),
      decode: async () => (calls.push('decode'), DECODED),
    },
  });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(1));
  await settled();
  client.expect(feedback);
  await settled();
  client.ask(at(2, feedback));
  await settled();
  assert.deepEqual(calls, ['prepare false', 'decode', 'prepare true', 'decode']);
});

test('an expectation never takes the place of a question', async () => {
  const { wait, waiting } = gate();
  const { client, answers } = clientOver({ wasm: { decode: wait } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  client.ask(at(1));
  await settled();
  client.ask(at(2));
  client.expect(new Float32Array(1));
  waiting[0]();
  await settled();
  waiting[1]();
  await settled();
  assert.deepEqual(answers.map(({ x }) => x), [1, 2]);
});

test('the same question about the same picture is decoded once', async () => {
  let decodes = 0;
  const { client, answers } = clientOver({ wasm: { decode: async () => ((decodes += 1), DECODED) } });
  await client.start({ candidates: ['wasm'], refused: [] });
  client.setPicture(picture(1));
  for (const question of [at(1), at(2), at(1)]) {
    client.ask(question);
    await settled();
  }
  assert.deepEqual([answers.length, decodes], [3, 2]);
  client.setPicture(picture(2));
  client.ask(at(1));
  await settled();
  assert.equal(decodes, 3);
});

test('the memory forgets the oldest answer and tells masks apart', () => {
  const memory = createMemory(2);
  [1, 2, 3].forEach((x) => memory.keep(at(x), DECODED));
  assert.deepEqual([1, 2, 3].map((x) => memory.recall(at(x)) !== null), [false, true, true]);
  assert.equal(memory.recall(at(3, new Float32Array(1))), null);
});

test('the worker gets a copy of the embedding once, and the coordinates of the frame', async () => {
  const { worker, backend } = await openedBackend();
  const shown = picture(1);
  const preparing = backend.prepare(shown, null);
  worker.answer({ id: 2, type: 'held' });
  await settled();
  worker.answer({ id: 3, type: 'prepared' });
  await preparing;
  assert.deepEqual([...(shown.embedding?.tensor.bytes ?? [])], [1, 2]);
  assert.deepEqual([...worker.sent[1].tensor.bytes], [1, 2]);

  const decoding = backend.decode(shown, at(50));
  worker.answer({ id: 4, type: 'decoded', ...DECODED });
  assert.deepEqual(await decoding, DECODED);
  assert.deepEqual([...worker.sent[3].coords], [512, 0, 0, 0]);
});

test('the worker gets a copy of the fed-back mask, and the picture only once', async () => {
  const { worker, backend } = await openedBackend();
  const shown = picture(1);
  const feedback = Float32Array.of(3, 4).subarray(1);
  const preparing = backend.prepare(shown, feedback);
  worker.answer({ id: 2, type: 'held' });
  await settled();
  worker.answer({ id: 3, type: 'prepared' });
  await preparing;
  assert.deepEqual([...worker.sent[2].mask], [4]);
  assert.deepEqual([...feedback], [4]);
  const again = backend.prepare(shown, null);
  await settled();
  worker.answer({ id: 4, type: 'prepared' });
  await again;
  assert.deepEqual(worker.sent.map(({ type }) => type), ['open', 'picture', 'prepare', 'prepare']);
});

test('a worker that dies fails every request that waits', async () => {
  const worker = new FakeWorker();
  const opening = openWith(worker);
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
  const opening = openWith(worker, (share) => shares.push(share));
  worker.answer({ id: 1, type: 'progress', share: 0.5 });
  worker.answer({ id: 1, type: 'opened', timings: TIMINGS });
  await opening;
  assert.deepEqual(shares, [0.5]);
});

test('the server tier tells a dropped picture from a server that is gone', async () => {
  const failing = (/** @type {number} */ status) =>
    createServerBackend({ decode: () => Promise.reject(new ApiError(status, 'title', 'detail')) });
  await assert.rejects(failing(404).decode(picture(1), at(1)), PictureGoneError);
  await assert.rejects(failing(0).decode(picture(1), at(1)), ApiError);
});
