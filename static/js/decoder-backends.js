// @ts-check
/** The two places where a decoder can run, behind one interface: a worker of this page, or the server. */

/** @import { Api, DecoderFile, ImageRecord } from './api.js' */
/** @import { Frame } from './geometry.js' */
/** @import { Decoded, Embedding } from './protocol.js' */
/** @import { Prompts } from './prompts.js' */
/** @import { Tier } from './tiers.js' */
/** @import { WorkerLike } from './messenger.js' */
import { ApiError } from './api.js';
import { createMessenger } from './messenger.js';
import { encodePrompts } from './prompts.js';
import { parseDecoded } from './protocol.js';

/**
 * What a backend needs to know of a picture; the embedding is null where the server keeps it.
 * @typedef {{key: number, frame: Frame, record: ImageRecord, embedding: Embedding | null}} PictureForDecoder
 */

/**
 * @typedef {object} Backend
 * @property {Tier} tier
 * @property {number} threads
 * @property {string} precision
 * @property {(picture: PictureForDecoder) => Promise<void>} prepare once per picture, before its decodes
 * @property {(picture: PictureForDecoder, prompts: Prompts) => Promise<Decoded>} decode
 * @property {() => void} dispose
 */

/** How long a worker may be silent before its tier counts as failed: so many first decodes, and never less in ms. */
const PATIENCE = { decodes: 30, least: 20_000 };

/** The server no longer holds the picture; it must be sent again. */
export class PictureGoneError extends Error {
  name = 'PictureGoneError';
}

/**
 * @param {object} options
 * @param {() => WorkerLike} options.spawn
 * @param {Tier} options.tier
 * @param {number} options.threads
 * @param {boolean} options.suspending whether wasm can suspend (JSPI)
 * @param {DecoderFile} options.decoder
 * @param {(share: number | null) => void} options.onShare of the download
 * @returns {Promise<Backend>}
 */
export async function openWorkerBackend({ spawn, tier, threads, suspending, decoder, onShare }) {
  const messenger = createMessenger(spawn());
  let patience = PATIENCE.least;
  try {
    const open = { type: 'open', tier, threads, suspending, url: decoder.url };
    const { milliseconds } = await messenger.request(open, { onProgress: ({ share }) => onShare(share) });
    patience = Math.max(PATIENCE.least, PATIENCE.decodes * milliseconds);
  } catch (error) {
    messenger.dispose();
    throw error;
  }
  return {
    tier,
    threads,
    precision: decoder.precision,
    async prepare({ key, embedding }) {
      if (!embedding) throw new Error('This picture came without its embedding.');
      const bytes = embedding.tensor.bytes.slice();
      const tensor = { ...embedding.tensor, bytes };
      await messenger.request({ type: 'picture', key, tensor }, { transfer: [bytes.buffer], patience });
    },
    async decode({ key, frame }, prompts) {
      const { coords, labels } = encodePrompts(prompts, frame);
      const question = { type: 'decode', key, coords, labels };
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
    async decode({ record }, prompts) {
      try {
        return parseDecoded(await api.decode(record.decode_url, prompts));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) throw new PictureGoneError(error.message);
        throw error;
      }
    },
    dispose() {},
  };
}
