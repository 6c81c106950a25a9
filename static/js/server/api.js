// @ts-check
/** The server's addresses as functions; every failure is an ApiError with words for the user. */

/** @import { Window } from '../masks/closer-views.js' */
/** @import { Update } from '../masks/found.js' */
/** @import { Question } from '../masks/prompts.js' */
import { windowOf } from '../masks/closer-views.js';
import { toBase64, toHalves } from './protocol.js';

/** @typedef {{url: string, sha256: string, bytes: number}} DecoderFile */
/** @typedef {'prepare' | 'prepare_with_mask' | 'point' | 'kernel'} Role of three graphs and of the kernel's weights */
/** @typedef {Record<Role, DecoderFile>} DecoderFiles */
/** @typedef {{precision: string, contract: string, contract_version: number, files: DecoderFiles}} DecoderInfo */

/**
 * @typedef {object} ModelInfo
 * @property {string} id to choose it by
 * @property {{id: string, weights_hash: string}} model
 * @property {number} prompt_frame
 * @property {number} mask_threshold
 * @property {DecoderInfo[]} decoders
 * @property {{max_bytes: number, max_pixels: number}} limits
 */

/**
 * @typedef {object} ImageRecord
 * @property {string} id
 * @property {{id: string, weights_hash: string}} model that encodes it
 * @property {number} width
 * @property {number} height
 * @property {number} resized_width
 * @property {number} resized_height
 * @property {string} embedding_url
 * @property {string} events_url
 * @property {string} decode_url
 * @property {string} views_url of closer views; {view} stands for x,y,width,height
 * @property {string} everything_url
 * @property {string} picture_url
 */

/**
 * A model that may be chosen. bytes: of its weights; source: where they come from, if they are not the server's own;
 * sha256: what they are verified against, if anybody has published it.
 * @typedef {object} ModelOffer
 * @property {string} id
 * @property {string} title
 * @property {string} licence
 * @property {string} citation
 * @property {number | null} bytes
 * @property {string | null} source
 * @property {string | null} sha256
 * @property {'loaded' | 'loading' | 'on_disk' | 'downloading' | 'not_downloaded' | 'failed'} state
 * @property {boolean} default
 * @property {{type: string, title: string, detail: string} | null} problem why it failed
 */

/** @typedef {{done: number, total: number | null}} Arrived bytes of a download */

/**
 * A closer view, as soon as it is encoded.
 * @typedef {object} ViewRecord
 * @property {[x: number, y: number, width: number, height: number]} window
 * @property {number} resized_width
 * @property {number} resized_height
 * @property {string} embedding_url
 * @property {number} seconds
 */

/** @typedef {{file: string, title: string, credit: string, licence: string} & import('../masks/geometry.js').Size} GalleryItem */
/** @typedef {{ahead: number} | {elapsed: number, expected: number | null}} EncodeProgress */
/** @typedef {(share: number | null) => void} OnShare from 0 to 1, null while the total is unknown */
/** @typedef {ReturnType<typeof createApi>} Api */

/** Addresses of our own are relative to the page, which may lie under a prefix; the server's answers know theirs. */
const GALLERY = 'static/gallery/';

/** What a proxy says when there is nobody behind it. */
const NOBODY = [502, 503, 504];
const HEALTH_PATIENCE_MS = 10_000;
const JSON_BODY = { 'Content-Type': 'application/json' };

/** A request that got no answer, or a refusal. */
export class ApiError extends Error {
  name = 'ApiError';

  /**
   * @param {number} status 0 when the server did not answer at all
   * @param {string} title
   * @param {string} detail
   * @param {number | null} [retryAfterS] when the server asks to come again
   */
  constructor(status, title, detail, retryAfterS = null) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * @param {typeof globalThis.fetch} [fetcher]
 * @param {() => void} [onLost] called when a request got no answer
 */
export function createApi(fetcher = globalThis.fetch.bind(globalThis), onLost = () => {}) {
  /** @template T @param {Promise<T>} answer @returns {Promise<T>} the same, with `onLost` told of its failure */
  const watched = (answer) => {
    answer.catch((error) => error instanceof ApiError && (error.status === 0 || NOBODY.includes(error.status)) && onLost());
    return answer;
  };

  /**
   * @param {string} url
   * @param {RequestInit} [options]
   */
  async function request(url, options) {
    const response = await fetcher(url, options).catch(rethrowUnreachable);
    if (!response.ok) throw problemFrom(response.status, await response.text());
    return response;
  }

  /** @param {string} url @param {RequestInit} [options] */
  const ask = (url, options) => watched(request(url, options));

  /** @param {string} url @param {{preset: string}} wanted @param {{signal: AbortSignal, onUpdate: (update: Update) => void}} options */
  async function search(url, wanted, { signal, onUpdate }) {
    const response = await request(url, { method: 'POST', headers: JSON_BODY, body: JSON.stringify(wanted), signal });
    let outcome = '';
    await readEvents(response, (name, data) => {
      outcome = name;
      if (name === 'update') onUpdate(data);
      if (name === 'failed') throw new ApiError(data.status, data.title, data.detail);
    });
    if (outcome !== 'done') throw new ApiError(0, 'The search broke off', 'What was found so far stays. Try again.');
  }

  return {
    /** @returns {Promise<{model: ModelInfo['model']}>} rejects, quietly, while there is no server */
    async health() {
      const signal = AbortSignal.timeout(HEALTH_PATIENCE_MS);
      return (await request('healthz', { cache: 'no-store', signal })).json();
    },

    /** @param {string | null} [id] of a model, which is loaded if need be; null for the default @returns {Promise<ModelInfo>} */
    model: async (id) => (await ask(id ? `api/models/${id}` : 'api/model', { cache: 'no-cache' })).json(),

    /** @returns {Promise<ModelOffer[]>} */
    models: async () => (await (await ask('api/models', { cache: 'no-store' })).json()).models,

    /** @param {string} id */
    loadModel: (id) => ask(`api/models/${id}/load`, { method: 'POST' }),

    /** The person has agreed to it. @param {string} id */
    downloadModel: (id) => ask(`api/models/${id}/download`, { method: 'POST', headers: JSON_BODY, body: '{"agreed":true}' }),

    /** @param {string} id */
    cancelDownload: (id) => ask(`api/models/${id}/download`, { method: 'DELETE' }),

    /**
     * Follow a model's download or load. Resolves when nothing more becomes of it; rejects with the server's problem.
     * @param {string} id
     * @param {(arrived: Arrived) => void} onArrived
     */
    watchModel: (id, onArrived) => follow(`api/models/${id}/events`, new AbortController().signal, { downloading: onArrived }),

    /** @returns {Promise<GalleryItem[]>} */
    gallery: async () => (await ask(`${GALLERY}gallery.json`)).json(),

    /** @param {GalleryItem} item */
    galleryPicture: async ({ file }) => (await ask(GALLERY + file)).blob(),

    /**
     * A picture that the server may still have, for a model to see it; rejects where it has not.
     * @param {string} id
     * @param {string | null} model
     * @returns {Promise<ImageRecord>}
     */
    image: async (id, model) => (await request(`api/images/${id}${modelQuery(model)}`, { cache: 'no-store' })).json(),

    /** What a browser can show of it. @param {ImageRecord} record @param {AbortSignal} signal */
    picture: async ({ picture_url }, signal) => (await ask(picture_url, { signal })).blob(),

    /** @type {typeof uploadImage} */
    uploadImage: (blob, options) => watched(uploadImage(blob, options)),
    watchEncode,

    /**
     * @param {string} urlTemplate an embedding's address
     * @param {{signal?: AbortSignal, onShare?: OnShare}} [options]
     */
    async embedding(urlTemplate, { signal, onShare = () => {} } = {}) {
      return watched(readWithShare(await ask(urlTemplate, { signal }), onShare));
    },

    /** @param {ImageRecord} record @param {Window} window @returns {Promise<ViewRecord>} */
    view: async ({ views_url: views }, window) => (await request(views.replace('{view}', window.join()))).json(),

    /**
     * @param {string} url
     * @param {Question} question
     */
    async decode(url, { prompts: { clicks, box }, feedback, frame }) {
      const question = {
        points: clicks.map(({ x, y }) => [x, y]),
        labels: clicks.map(({ label }) => label),
        box,
        mask: feedback && toBase64(toHalves(feedback)),
        view: frame ? windowOf(frame) : null,
      };
      const response = await ask(url, {
        method: 'POST',
        headers: JSON_BODY,
        body: JSON.stringify(question),
      });
      return response.arrayBuffer();
    },

    /**
     * Search a picture for everything; resolves when all of it is searched. Whoever aborts stops the server's work.
     * @type {typeof search}
     */
    everything: (url, wanted, options) => watched(search(url, wanted, options)),
  };
}

/**
 * Server-sent events of an answer to a request that `EventSource` cannot make.
 * @param {Response} response
 * @param {(name: string, data: any) => void} onEvent
 */
async function readEvents(response, onEvent) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = (await reader?.read().catch(rethrowUnreachable)) ?? { done: true, value: '' };
    if (done) return;
    const blocks = (text + value).split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
      if (name) onEvent(name, JSON.parse(data));
    }
  }
}

/** @param {string | null} model */
function modelQuery(model) {
  return model ? `?model=${model}` : '';
}

/** @param {GalleryItem} item */
export function galleryUrl({ file }) {
  return GALLERY + file;
}

/**
 * @param {Response} response
 * @param {(bytes: number) => void} onBytes so many have arrived, unpacked
 * @returns {Promise<ArrayBuffer>}
 */
export async function readBody(response, onBytes) {
  const reader = response.body?.getReader();
  if (!reader) return response.arrayBuffer();
  const parts = [];
  let loaded = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(rethrowUnreachable);
    if (done) break;
    parts.push(value);
    loaded += value.length;
    onBytes(loaded);
  }
  return new Blob(parts).arrayBuffer();
}

/**
 * A packed body's length is not its content's, so its share stays unknown.
 * @param {Response} response
 * @param {OnShare} onShare
 */
function readWithShare(response, onShare) {
  const total = response.headers.has('Content-Encoding') ? 0 : Number(response.headers.get('Content-Length'));
  return readBody(response, (bytes) => onShare(total ? Math.min(1, bytes / total) : null));
}

/**
 * XMLHttpRequest, because fetch does not report upload progress.
 * @param {Blob} blob
 * @param {{model: string | null, signal: AbortSignal, onShare: OnShare}} options
 * @returns {Promise<ImageRecord>}
 */
function uploadImage(blob, { model, signal, onShare }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `api/images${modelQuery(model)}`);
    request.setRequestHeader('Content-Type', blob.type.startsWith('image/') ? blob.type : 'application/octet-stream');
    request.upload.onprogress = ({ lengthComputable, loaded, total }) =>
      onShare(lengthComputable ? loaded / total : null);
    request.onload = () => {
      const accepted = request.status >= 200 && request.status < 300;
      if (accepted) resolve(JSON.parse(request.responseText));
      else reject(problemFrom(request.status, request.responseText));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(signal.reason);
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(blob);
  });
}

/**
 * Follow an encode. Resolves with its seconds; rejects with the server's problem. A broken stream resolves with
 * null: the embedding's own request knows the outcome.
 * @param {string} url
 * @param {{signal: AbortSignal, onProgress: (progress: EncodeProgress) => void}} options
 * @returns {Promise<number | null>}
 */
async function watchEncode(url, { signal, onProgress }) {
  const done = await follow(url, signal, {
    queued: ({ position }) => onProgress({ ahead: position }),
    encoding: ({ elapsed_s, expected_s }) => onProgress({ elapsed: elapsed_s, expected: expected_s ?? null }),
  });
  return done?.seconds ?? null;
}

/**
 * Server-sent events until the one that says `done`, whose data this resolves with; null for a stream that broke.
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {Record<string, (data: any) => void>} listeners of the events before
 * @returns {Promise<any>}
 */
function follow(url, signal, listeners) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    /** @param {() => void} settle */
    const finish = (settle) => {
      source.close();
      settle();
    };
    for (const [name, listener] of Object.entries(listeners)) on(name, listener);
    on('done', (data) => finish(() => resolve(data)));
    on('failed', (data) => finish(() => reject(asApiError(data.problem ?? data))));
    source.onerror = () => source.readyState === EventSource.CLOSED && finish(() => resolve(null));
    signal.addEventListener('abort', () => finish(() => reject(signal.reason)), { once: true });

    /**
     * @param {string} name
     * @param {(data: any) => void} listener
     */
    function on(name, listener) {
      source.addEventListener(name, (event) => listener(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    }
  });
}

/**
 * @param {number} status
 * @param {string} body problem JSON, if the server sent it
 */
function problemFrom(status, body) {
  try {
    return asApiError({ status, ...JSON.parse(body) });
  } catch {
    return new ApiError(status, `The server answered ${status}`, 'It gave no reason.');
  }
}

/** @param {{status?: number, title?: string, detail?: string, retry_after_s?: number}} problem */
function asApiError({ status = 500, title = 'The server failed', detail = '', retry_after_s: retryAfterS }) {
  return new ApiError(status, title, detail, retryAfterS);
}

/**
 * @param {unknown} error
 * @returns {never}
 */
function rethrowUnreachable(error) {
  if (error instanceof DOMException && error.name === 'AbortError') throw error;
  throw unreachable();
}

function unreachable() {
  return new ApiError(0, 'The server does not answer', 'Check that it is still running; the page goes on by itself when it is back.');
}
