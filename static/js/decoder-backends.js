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
  try {
    const open = { type: 'open', tier, threads, suspending, url: decoder.url };
    await messenger.request(open, { onProgress: ({ share }) => onShare(share) });
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
      await messenger.request({ type: 'picture', key, tensor }, { transfer: [bytes.buffer] });
    },
    async decode({ key, frame }, prompts) {
      const { coords, labels } = encodePrompts(prompts, frame);
      const question = { type: 'decode', key, coords, labels };
      const { logits, iou } = await messenger.request(question, { transfer: [coords.buffer, labels.buffer] });
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
