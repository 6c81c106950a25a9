// @ts-check
/** The two places where a decoder can run, behind one interface: a worker of this page, or the server. */

/** @import { Frame } from '../masks/geometry.js' */
/** @import { Question } from '../masks/prompts.js' */
/** @import { WorkerLike } from '../messenger.js' */
/** @import { Api, DecoderInfo, ImageRecord } from '../server/api.js' */
/** @import { Decoded, Embedding } from '../server/protocol.js' */
/** @import { OpenTimings } from './session-loader.js' */
/** @import { Tier } from './tiers.js' */
import { encodePrompts } from '../masks/prompts.js';
import { createMessenger } from '../messenger.js';
import { ApiError } from '../server/api.js';
import { parseDecoded } from '../server/protocol.js';

/**
 * What a backend needs to know of a picture, or of a closer view of it; the embedding is null where the server keeps it.
 * @typedef {{key: number, frame: Frame, record: ImageRecord, embedding: Embedding | null}} PictureForDecoder
 */

/**
 * @typedef {object} Backend
 * @property {Tier} tier
 * @property {number} threads
 * @property {string} precision
 * @property {(picture: PictureForDecoder, feedback: Float32Array | null) => Promise<void>} prepare before their decodes
 * @property {(picture: PictureForDecoder, question: Question) => Promise<Decoded>} decode
 * @property {() => void} dispose
 */

/** How long a worker may be silent before its tier counts as failed: so many first decodes, and never less in ms. */
const PATIENCE = { decodes: 30, least: 20_000 };

/** The server no longer holds the picture; it must be sent again. */
export class PictureGoneError extends Error {
  name = 'PictureGoneError';
}

/** @returns {WorkerLike} */
export function spawnDecoder() {
  return new Worker(new URL('./decoder.worker.js', import.meta.url), { type: 'module' });
}

/**
 * @param {object} options
 * @param {() => WorkerLike} options.spawn
 * @param {Tier} options.tier
 * @param {number} options.threads
 * @param {boolean} options.suspending whether wasm can suspend (JSPI)
 * @param {string} options.root the page's own address, beside which the worker finds the runtime
 * @param {DecoderInfo} options.decoder
 * @param {(share: number | null) => void} options.onShare of the download
 * @param {(timings: OpenTimings) => void} options.onTimings
 * @returns {Promise<Backend>}
 */
export async function openWorkerBackend({ spawn, tier, threads, suspending, root, decoder, onShare, onTimings }) {
  const messenger = createMessenger(spawn());
  let patience = PATIENCE.least;
  /** @type {PictureForDecoder | null} what the worker holds */
  let held = null;
  try {
    const open = { type: 'open', tier, threads, suspending, root, files: decoder.files };
    const { timings } = await messenger.request(open, { onProgress: ({ share }) => onShare(share) });
    patience = Math.max(PATIENCE.least, PATIENCE.decodes * timings.warm_up);
    onTimings(timings);
  } catch (error) {
    messenger.dispose();
    throw error;
  }

  /** @param {PictureForDecoder} picture */
  async function hold(picture) {
    if (held === picture) return;
    const { embedding } = picture;
    if (!embedding) throw new Error('This picture came without its embedding.');
    const bytes = embedding.tensor.bytes.slice();
    const tensor = { ...embedding.tensor, bytes };
    await messenger.request({ type: 'picture', tensor }, { transfer: [bytes.buffer], patience });
    held = picture;
  }

  return {
    tier,
    threads,
    precision: decoder.precision,
    async prepare(picture, feedback) {
      await hold(picture);
      const mask = feedback && Float32Array.from(feedback);
      await messenger.request({ type: 'prepare', mask }, { transfer: mask ? [mask.buffer] : [], patience });
    },
    async decode({ frame }, { prompts }) {
      const { coords, labels } = encodePrompts(prompts, frame);
      const question = { type: 'decode', coords, labels };
      const { logits, iou } = await messenger.request(question, { transfer: [coords.buffer, labels.buffer], patience });
      return { logits, iou };
    },
    dispose: messenger.dispose,
  };
}

/**
 * @param {Pick<Api, 'decode'>} api
 * @returns {Backend}
 */
export function createServerBackend(api) {
  return {
    tier: 'server',
    threads: 0,
    precision: 'fp32',
    prepare: async () => {},
    async decode({ record }, question) {
      try {
        return parseDecoded(await api.decode(record.decode_url, question));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) throw new PictureGoneError(error.message);
        throw error;
      }
    },
    dispose() {},
  };
}
