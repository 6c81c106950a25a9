// @ts-check
/** The hover loop's middle: one decode in flight, the newest question waits, and the ladder of tiers beneath. */

/** @import { Question } from '../masks/prompts.js' */
/** @import { Decoded } from '../server/protocol.js' */
/** @import { Decoder, Problem } from '../state/state.js' */
/** @import { Backend, PictureForDecoder } from './backends.js' */
/** @import { Refusal, Tier } from './tiers.js' */
import { sameAnswer } from '../masks/prompts.js';
import { PictureGoneError } from './backends.js';

/** @typedef {{picture: PictureForDecoder, view: PictureForDecoder, question: Question, asked: number}} Inquiry */
/** @typedef {{picture: PictureForDecoder, view: PictureForDecoder, feedback: Float32Array}} Expectation of a mask fed back */
/** @typedef {Decoded & {picture: PictureForDecoder, question: Question, milliseconds: number}} Answer */
/** @typedef {ReturnType<typeof createDecoderClient>} DecoderClient */

/** Answers kept, of one megabyte each; a pointer that stands still or comes back is answered from them. */
const REMEMBERED = 16;

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
    /** @param {Job} job gives way to any other that waits */
    offer(job) {
      waiting ??= { job };
      pump();
    },
    clear() {
      waiting = null;
    },
  };
}

/** The last answers of one picture, the longest unused first out. */
export function createMemory(capacity = REMEMBERED) {
  /** @type {{question: Question, decoded: Decoded}[]} */
  let entries = [];
  return {
    /** @param {Question} question */
    recall: (question) => entries.find((entry) => sameAnswer(entry.question, question))?.decoded ?? null,
    /**
     * @param {Question} question
     * @param {Decoded} decoded
     */
    keep(question, decoded) {
      const others = entries.filter((entry) => !sameAnswer(entry.question, question));
      entries = [...others, { question, decoded }].slice(-capacity);
    },
    clear() {
      entries = [];
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
  /** @type {{view: PictureForDecoder, feedback: Float32Array | null} | null} what the backend in use is prepared for */
  let prepared = null;
  /** @type {PictureForDecoder | null} */
  let picture = null;

  const queue = createLatestWins(attend);
  const memory = createMemory();

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

  /** @param {Inquiry | Expectation} job */
  async function attend(job) {
    try {
      if ('question' in job) await answer(job);
      else await somewhere(job.picture, (backend) => prepare(backend, job.view, job.feedback));
    } catch (error) {
      if (error instanceof PictureGoneError) onPictureGone(job.picture.key);
      else ignoreExhausted(error);
    }
  }

  /** @param {Inquiry} inquiry */
  async function answer({ picture: asked, view, question, asked: since }) {
    const decoded = memory.recall(question) ?? (await somewhere(asked, (backend) => decode(backend, view, question)));
    if (!decoded || asked !== picture) return;
    memory.keep(question, decoded);
    onAnswer({ picture: asked, question, ...decoded, milliseconds: now() - since });
  }

  /**
   * Let the current tier do the work; when it fails, let the next one do the same.
   * @template T
   * @param {PictureForDecoder} wanted
   * @param {(backend: Backend) => Promise<T>} work
   * @returns {Promise<T | null>} null when the picture has changed
   */
  async function somewhere(wanted, work) {
    while (wanted === picture) {
      const backend = await current();
      try {
        return await work(backend);
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
   * @param {PictureForDecoder} view
   * @param {Question} question
   */
  async function decode(backend, view, question) {
    await prepare(backend, view, question.feedback);
    return backend.decode(view, question);
  }

  /**
   * Once per view and fed-back mask, not once per question.
   * @param {Backend} backend
   * @param {PictureForDecoder} view
   * @param {Float32Array | null} feedback
   */
  async function prepare(backend, view, feedback) {
    if (prepared?.view === view && prepared.feedback === feedback) return;
    prepared = null;
    await backend.prepare(view, feedback);
    prepared = { view, feedback };
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
      memory.clear();
    },
    /**
     * @param {Question | null} question null withdraws the one that waits
     * @param {PictureForDecoder | null} [view] of the picture, that it asks; none for all of the picture
     */
    ask(question, view) {
      if (question && picture) queue.submit({ picture, view: view ?? picture, question, asked: now() });
      else queue.clear();
    },
    /**
     * @param {Float32Array | null} feedback of the next question, probably: there is time to prepare for it
     * @param {PictureForDecoder | null} [view]
     */
    expect(feedback, view) {
      if (feedback && picture) queue.offer({ picture, view: view ?? picture, feedback });
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
