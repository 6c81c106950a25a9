// @ts-check
/** A picture's way from a file to an embedding: read here, uploaded, encoded there, downloaded. */

/** @import { Size } from '../masks/geometry.js' */
/** @import { Picture } from '../state/state.js' */
/** @import { Api, EncodeProgress, ImageRecord, ModelInfo } from './api.js' */
/** @import { Embedding } from './protocol.js' */
import { clamp } from '../masks/geometry.js';
import { ApiError } from './api.js';
import { parseEmbedding } from './protocol.js';

/** @typedef {{record: ImageRecord, embedding: Embedding | null}} Loaded */
/** @typedef {(part: Partial<Picture>) => void} Report */

/**
 * @typedef {object} Context
 * @property {Api} api
 * @property {ModelInfo} info of the model that shall see it
 * @property {string | null} model the same one's id; null for the server's default
 * @property {string | null} known the picture's name, if the server had it before
 * @property {() => boolean} wantsEmbedding
 * @property {AbortSignal} signal
 * @property {Report} report
 */

const SHOWN_SIDES = { least: 1024, most: 4096 };
const SHOWN_EVERYWHERE = ['image/jpeg', 'image/png', 'image/webp', 'image/gif'];
const THUMBNAIL = 160;
const SHARPEST_SIDE = 8192;
/** What the server answers to a file that it cannot read either. */
const UNREADABLE = [415, 422];
const ATTEMPTS = 2;
/** A server that has too much to do is asked again as it wishes, and so often. */
const PATIENCE = 12;
const LINGER_MS = 2000;

/** The browser cannot show this file. */
export class UnreadablePictureError extends Error {
  name = 'UnreadablePictureError';
}

/** The server answered for another model than the page's. */
export class OtherModelError extends Error {
  name = 'OtherModelError';
}

/**
 * @param {Blob} blob
 * @param {Context} context
 * @returns {Promise<Loaded>}
 */
export async function loadPicture(blob, context) {
  context.report({ phase: { status: 'reading' } });
  const { size, bitmap, thumbnail } = await readBitmap(blob).catch((error) => readByServer(blob, context, error));
  context.signal.throwIfAborted();
  context.report({ size, bitmap });
  thumbnail.then((address) => context.report({ thumbnail: address }), () => {});
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await whenThereIsRoom(() => sendAndFetch(blob, context), context);
    } catch (error) {
      const evicted = error instanceof ApiError && error.status === 404;
      if (!evicted || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * What the browser cannot show, the server perhaps can; the page goes on with what it makes of it.
 * @param {Blob} blob
 * @param {Context} context
 * @param {Error} reason why the browser could not
 */
async function readByServer(blob, { api, model, signal, report }, reason) {
  report({ phase: { status: 'uploading', progress: 0 } });
  const onShare = (/** @type {number | null} */ progress) => report({ phase: { status: 'uploading', progress } });
  try {
    const record = await whenThereIsRoom(() => api.uploadImage(blob, { model, signal, onShare }), { signal, report });
    report({ phase: { status: 'encoding', progress: null, ahead: 0 } });
    const shown = await api.picture(record, signal);
    report({ blob: shown });
    return await readBitmap(shown);
  } catch (error) {
    throw error instanceof ApiError && UNREADABLE.includes(error.status) ? reason : error;
  }
}

/**
 * What the server refuses for now is asked again when it says so.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {Pick<Context, 'signal' | 'report'>} context
 * @returns {Promise<T>}
 */
async function whenThereIsRoom(ask, { signal, report }) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryAfterS === null || attempt === PATIENCE) throw error;
      for (let seconds = error.retryAfterS; seconds > 0; seconds -= 1) {
        report({ phase: { status: 'refused', seconds } });
        await new Promise((resolve) => setTimeout(resolve, 1000));
        signal.throwIfAborted();
      }
    }
  }
}

/**
 * Ask the server about a picture that it may have forgotten, to make room for others: then it is sent again.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {{api: Api, blob: Blob, model: string | null, signal: AbortSignal}} picture
 * @returns {Promise<T>}
 */
export async function remindingOf(ask, { api, blob, model, signal }) {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await api.uploadImage(blob, { model, signal, onShare() {} });
    return ask();
  }
}

/**
 * Pixels for the stage, upright, and no more of them than the screen can show.
 * @param {Blob} blob
 * @returns {Promise<{size: Size, bitmap: ImageBitmap, thumbnail: Promise<string>}>}
 */
export async function readBitmap(blob) {
  const size = await probeSize(blob);
  const scale = Math.min(1, shownSide() / Math.max(size.width, size.height));
  /** @type {ImageBitmapOptions} */
  const options = { imageOrientation: 'from-image', premultiplyAlpha: 'premultiply' };
  if (scale < 1) {
    options.resizeWidth = Math.max(1, Math.round(size.width * scale));
    options.resizeHeight = Math.max(1, Math.round(size.height * scale));
    options.resizeQuality = 'medium';
  }
  const bitmap = await createImageBitmap(blob, options).catch(() => {
    throw new UnreadablePictureError(unreadable(blob));
  });
  return { size, bitmap, thumbnail: thumbnailOf(bitmap) };
}

/**
 * Every pixel, as far as graphics can hold them.
 * @param {Blob} blob
 */
export async function readSharp(blob) {
  const { width, height } = await probeSize(blob);
  const scale = Math.min(1, SHARPEST_SIDE / Math.max(width, height));
  /** @type {ImageBitmapOptions} */
  const options = { imageOrientation: 'from-image', premultiplyAlpha: 'premultiply' };
  const resized = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale) };
  return createImageBitmap(blob, scale < 1 ? { ...options, ...resized } : options);
}

/**
 * @param {ImageBitmap} bitmap read before it is taken away
 * @returns {Promise<string>} an address that somebody must revoke
 */
async function thumbnailOf(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale));
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return URL.createObjectURL(await canvas.convertToBlob({ type: 'image/webp', quality: 0.8 }));
}

/** The long side that fills this screen. */
function shownSide() {
  return clamp(Math.max(screen.width, screen.height) * devicePixelRatio, SHOWN_SIDES.least, SHOWN_SIDES.most);
}

/**
 * The upright size, from an image element: it reads the header without decoding every pixel.
 * @param {Blob} blob
 * @returns {Promise<Size>}
 */
async function probeSize(blob) {
  const url = URL.createObjectURL(blob);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new UnreadablePictureError(unreadable(blob)));
      image.src = url;
    });
    return { width: image.naturalWidth, height: image.naturalHeight };
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * @param {Blob} blob
 * @param {Context} context
 * @returns {Promise<Loaded>}
 */
async function sendAndFetch(blob, { api, info, model, known, wantsEmbedding, signal, report }) {
  report({ phase: { status: 'uploading', progress: 0 } });
  const onUploadShare = (/** @type {number | null} */ progress) => report({ phase: { status: 'uploading', progress } });
  const found = known && await api.image(known, model).catch(() => null);
  const record = found || await api.uploadImage(blob, { model, signal, onShare: onUploadShare });
  requireSameModel(record, info);
  report({ record, phase: { status: 'encoding', progress: null, ahead: 0 } });

  const stream = new AbortController();
  signal.addEventListener('abort', () => stream.abort(signal.reason), { once: true });
  let arriving = false;
  const onProgress = (/** @type {EncodeProgress} */ progress) => {
    if (!arriving) report({ phase: { status: 'encoding', ...encodeShare(progress) } });
  };
  const encoded = api
    .watchEncode(record.events_url, { signal: stream.signal, onProgress })
    .then((encodeSeconds) => report({ encodeSeconds }));
  if (!wantsEmbedding()) {
    await encoded;
    return { record, embedding: null };
  }
  const onShare = (/** @type {number | null} */ progress) => {
    arriving = true;
    report({ phase: { status: 'downloading', progress } });
  };
  try {
    const body = api.embedding(record.embedding_url, { signal, onShare });
    const buffer = await Promise.race([body, encoded.then(() => body)]);
    return { record, embedding: parseEmbedding(buffer, { weightsHash: info.model.weights_hash, imageId: record.id }) };
  } finally {
    encoded.catch(() => {});
    setTimeout(() => stream.abort(), LINGER_MS);
  }
}

/**
 * @param {EncodeProgress} progress
 * @returns {{progress: number | null, ahead: number}}
 */
function encodeShare(progress) {
  if ('ahead' in progress) return { progress: null, ahead: progress.ahead };
  const { elapsed, expected } = progress;
  return { progress: expected ? Math.min(0.97, elapsed / expected) : null, ahead: 0 };
}

/**
 * @param {ImageRecord} record
 * @param {ModelInfo} info
 */
function requireSameModel({ model }, info) {
  if (model.weights_hash !== info.model.weights_hash) throw new OtherModelError(`The server now runs ${model.id}.`);
}

/** @param {Blob} blob */
function unreadable({ type }) {
  if (SHOWN_EVERYWHERE.includes(type)) return 'The file is damaged, or it is not what its name says.';
  const kind = type.startsWith('image/') ? `${type.slice('image/'.length).toUpperCase()} pictures` : 'this file as a picture';
  return `Neither your browser nor the server can read ${kind}. Save it as JPEG, PNG or WebP and open that.`;
}
