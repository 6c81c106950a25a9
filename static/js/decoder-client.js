// @ts-check
/** The hover loop's middle: one decode in flight, the newest question waits, and the ladder of tiers beneath. */

/** @import { Backend, PictureForDecoder } from './decoder-backends.js' */
/** @import { Decoded } from './protocol.js' */
/** @import { Prompts } from './prompts.js' */
/** @import { Decoder, Problem } from './store.js' */
/** @import { Refusal, Tier } from './tiers.js' */
import { PictureGoneError } from './decoder-backends.js';

/** @typedef {{picture: PictureForDecoder, prompts: Prompts, asked: number}} Question */
/** @typedef {Question & Decoded & {milliseconds: number}} Answer */
/** @typedef {ReturnType<typeof createDecoderClient>} DecoderClient */

/** Every tier was tried and refused. */
class LadderExhausted extends Error {}

/**
 * Run jobs one at a time; of those that arrive meanwhile only the newest is kept.
 * @template Job
 * @param {(job: Job) => Promise<void>} run
 */
export function createLatestWins(run) {
  /** @type {{job: Job} | null} */
  let waiting = null;
  let busy = false;

  async function pump() {
    if (busy || !waiting) return;
    const { job } = waiting;
    waiting = null;
    busy = true;
    try {
      await run(job);
    } finally {
      busy = false;
      pump();
    }
  }

  return {
    /** @param {Job} job */
    submit(job) {
      waiting = { job };
      pump();
    },
    clear() {
      waiting = null;
    },
  };
}

/**
 * @param {object} options
 * @param {(tier: Tier, onShare: (share: number | null) => void) => Promise<Backend>} options.open
 * @param {(status: Decoder) => void} options.onStatus
 * @param {(answer: Answer) => void} options.onAnswer
 * @param {(key: number) => void} options.onPictureGone the server dropped the picture
 * @param {() => number} [options.now]
 */
export function createDecoderClient({ open, onStatus, onAnswer, onPictureGone, now = () => performance.now() }) {
  /** @type {Tier[]} */
  let candidates = [];
  /** @type {Refusal[]} */
  let refused = [];
  /** @type {Promise<Backend> | null} */
  let opening = null;
  /** @type {Backend | null} */
  let inUse = null;
  /** @type {number | null} key of the picture that the backend in use holds */
  let prepared = null;
  /** @type {PictureForDecoder | null} */
  let picture = null;

  const queue = createLatestWins(answer);

  /**
   * Open the best tier that works.
   * @param {{candidates: readonly Tier[], refused: readonly Refusal[]}} survey
   */
  function start(survey) {
    dispose();
    candidates = [...survey.candidates];
    refused = [...survey.refused];
    return current().catch(ignoreExhausted);
  }

  /** The backend in use, or the first that opens. */
  function current() {
    opening ??= climbDown();
    return opening;
  }

  /** @returns {Promise<Backend>} */
  async function climbDown() {
    const ladder = candidates;
    for (let tier = ladder[0]; tier; tier = ladder[0]) {
      const report = (/** @type {number | null} */ progress) => {
        if (ladder === candidates) onStatus({ status: 'loading', tier, progress, refused });
      };
      report(null);
      try {
        const backend = await open(tier, report);
        if (ladder !== candidates) throw disposed(backend);
        inUse = backend;
        onStatus({ status: 'ready', tier, threads: backend.threads, precision: backend.precision, refused });
        return backend;
      } catch (error) {
        if (ladder !== candidates) throw new LadderExhausted();
        refuse(tier, error);
      }
    }
    onStatus({ status: 'failed', problem: exhaustedProblem(refused), refused });
    throw new LadderExhausted();
  }

  /**
   * @param {Tier} tier
   * @param {unknown} error
   */
  function refuse(tier, error) {
    candidates.splice(candidates.indexOf(tier), 1);
    refused = [...refused, { tier, reason: reasonOf(error) }];
  }

  /** @param {Question} question */
  async function answer(question) {
    try {
      const decoded = await decodeSomewhere(question);
      if (decoded && question.picture === picture) onAnswer({ ...question, ...decoded, milliseconds: now() - question.asked });
    } catch (error) {
      if (error instanceof PictureGoneError) onPictureGone(question.picture.key);
      else ignoreExhausted(error);
    }
  }

  /**
   * Ask the current tier; when it fails, ask the next one the same question.
   * @param {Question} question
   * @returns {Promise<Decoded | null>} null when the picture has changed
   */
  async function decodeSomewhere(question) {
    while (question.picture === picture) {
      const backend = await current();
      try {
        await prepare(backend, question.picture);
        return await backend.decode(question.picture, question.prompts);
      } catch (error) {
        if (error instanceof PictureGoneError) throw error;
        if (backend !== inUse) continue;
        refuse(backend.tier, error);
        letGo();
      }
    }
    return null;
  }

  /**
   * @param {Backend} backend
   * @param {PictureForDecoder} wanted
   */
  async function prepare(backend, wanted) {
    if (prepared === wanted.key) return;
    await backend.prepare(wanted);
    prepared = wanted.key;
  }

  /** The next question opens a backend anew. */
  function letGo() {
    inUse?.dispose();
    inUse = null;
    opening = null;
    prepared = null;
  }

  function dispose() {
    letGo();
    candidates = [];
  }

  return {
    start,
    /** @returns {Promise<Tier | null>} the tier in use once one has opened, null when none did */
    tier: () => current().then(({ tier }) => tier, () => null),
    /** @param {PictureForDecoder | null} next */
    setPicture(next) {
      picture = next;
      queue.clear();
    },
    /** @param {Prompts | null} prompts null withdraws the question that waits */
    ask(prompts) {
      if (prompts && picture) queue.submit({ picture, prompts, asked: now() });
      else queue.clear();
    },
    dispose,
  };
}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error && error.message ? error.message : String(error);
}

/** @param {Backend} backend */
function disposed(backend) {
  backend.dispose();
  return new LadderExhausted();
}

/** @param {unknown} error */
function ignoreExhausted(error) {
  if (!(error instanceof LadderExhausted)) throw error;
}

/**
 * @param {readonly Refusal[]} refused
 * @returns {Problem}
 */
function exhaustedProblem(refused) {
  return { title: 'No decoder could be started', detail: refused.at(-1)?.reason ?? 'There is no tier to try.' };
}
