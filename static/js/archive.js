// @ts-check
/** Work that survives a reload: pictures with what was made of them, in the browser's own database. */

/** @import { Thing, Timeline, Work, Step } from './work.js' */
import { NEW_TIMELINE } from './work.js';

/**
 * One picture as it is stored. Answers of the model are not: they are asked for again.
 * @typedef {object} Stored
 * @property {string} id
 * @property {string} session the browser tab that it was opened in
 * @property {number} key
 * @property {string} name
 * @property {Blob} blob
 * @property {Work} work
 * @property {number} savedAt milliseconds since 1970
 */

/** @typedef {ReturnType<typeof createArchive>} Archive */

const [DATABASE, VERSION] = ['segment-anything', 1];
/** Apart, because a picture is large and never changes, and its work is small and changes all the time. */
const [PICTURES, WORKS] = ['pictures', 'works'];

/** @param {IDBFactory} [factory] */
export function createArchive(factory = globalThis.indexedDB) {
  /** @type {Promise<IDBDatabase> | null} */
  let opening = null;

  function open() {
    opening ??= new Promise((resolve, reject) => {
      const request = factory.open(DATABASE, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(PICTURES);
        request.result.createObjectStore(WORKS, { keyPath: 'id' });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return opening;
  }

  /**
   * @template T
   * @param {string} name
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest<T>} ask
   * @returns {Promise<T>}
   */
  async function within(name, mode, ask) {
    const database = await open();
    return new Promise((resolve, reject) => {
      const request = ask(database.transaction(name, mode).objectStore(name));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  /** @type {Set<string>} pictures that are stored already */
  const known = new Set();

  return {
    /** @param {Stored} stored */
    async save({ blob, ...entry }) {
      if (!known.has(entry.id)) await within(PICTURES, 'readwrite', (store) => store.put(blob, entry.id));
      known.add(entry.id);
      await within(WORKS, 'readwrite', (store) => store.put(entry));
    },
    /** @param {string} id */
    async remove(id) {
      known.delete(id);
      await within(WORKS, 'readwrite', (store) => store.delete(id));
      await within(PICTURES, 'readwrite', (store) => store.delete(id));
    },
    /** @returns {Promise<Stored[]>} */
    async all() {
      const entries = await within(WORKS, 'readonly', (store) => store.getAll());
      const blobs = await Promise.all(entries.map(({ id }) => within(PICTURES, 'readonly', (store) => store.get(id))));
      return entries.flatMap((entry, at) => (blobs[at] ? [{ ...entry, blob: blobs[at] }] : []));
    },
  };
}

/**
 * Work without what can be asked for again.
 * @param {Work} work
 * @returns {Work}
 */
export function lightened({ things, sketch, editing, selected }) {
  const lighter = (/** @type {Thing} */ thing) => ({ ...thing, steps: thing.steps.map(withoutAnswer) });
  return { things: things.map(lighter), sketch: sketch.map(withoutAnswer), editing, selected };
}

/** What was painted is nobody's answer, and stays. @param {Step} step @returns {Step} */
function withoutAnswer(step) {
  return step.painted ? step : { ...step, answer: null };
}

/** @param {Work} work @returns {Timeline} */
export function timelineOf(work) {
  return { ...NEW_TIMELINE, work };
}
