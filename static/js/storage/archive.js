// @ts-check
/** Work that survives a reload: pictures with what was made of them, in the browser's own database. */

/** @import { Thing, Timeline, Work, Step } from '../state/work.js' */
import { NEW_TIMELINE } from '../state/work.js';

/**
 * What is known of a stored picture without reading it.
 * @typedef {object} Entry
 * @property {string} id
 * @property {string} session of the tab that stored it
 * @property {string | null} [from] the id of the stored picture that this one goes on from
 * @property {number} key
 * @property {string} name
 * @property {number} savedAt milliseconds since 1970
 */

/** @typedef {Entry & {objects: number}} Listed with how many objects it has */
/** @typedef {Entry & {blob: Blob, work: Work}} Stored all of it. Answers of the model are not: they are asked for again */

/** @typedef {ReturnType<typeof createArchive>} Archive */

const [DATABASE, VERSION] = ['segment-anything', 2];
/** Apart, because pictures and fields are large and never change, and the work on them is small and always changes. */
const [PICTURES, FIELDS, WORKS] = ['pictures', 'fields', 'works'];

/** @param {IDBFactory} [factory] */
export function createArchive(factory = globalThis.indexedDB) {
  /** @type {Promise<IDBDatabase> | null} */
  let opening = null;
  /** @type {Map<string, Map<Float32Array, string>>} the keys of the fields that are stored, by the entry's id */
  const stored = new Map();
  /** @type {Set<string>} pictures that are stored already */
  const known = new Set();

  function open() {
    opening ??= new Promise((resolve, reject) => {
      const request = factory.open(DATABASE, VERSION);
      request.onupgradeneeded = () => {
        const has = request.result.objectStoreNames;
        for (const name of [PICTURES, FIELDS]) if (!has.contains(name)) request.result.createObjectStore(name);
        if (!has.contains(WORKS)) request.result.createObjectStore(WORKS, { keyPath: 'id' });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return opening;
  }

  /**
   * One transaction over everything.
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(stores: {pictures: IDBObjectStore, fields: IDBObjectStore, works: IDBObjectStore}) => T} use
   * @returns {Promise<T>} what `use` gave, once all of it is done
   */
  async function within(mode, use) {
    const transaction = (await open()).transaction([PICTURES, FIELDS, WORKS], mode);
    const [pictures, fields, works] = [PICTURES, FIELDS, WORKS].map((name) => transaction.objectStore(name));
    return new Promise((resolve, reject) => {
      const value = use({ pictures, fields, works });
      transaction.oncomplete = () => resolve(value);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  return {
    /** Writes only what is not there yet. @param {Stored} entry */
    async save({ blob, work, ...entry }) {
      const before = stored.get(entry.id) ?? new Map();
      /** @type {Map<Float32Array, string>} */
      const now = new Map();
      const light = exchanged(work, (value) => {
        if (!(value instanceof Float32Array)) return undefined;
        const field = now.get(value) ?? before.get(value) ?? keyOf(entry.id, newName());
        now.set(value, field);
        return { field };
      });
      const isNew = !known.has(entry.id);
      known.add(entry.id);
      stored.set(entry.id, now); // before it is true: the next save's transaction comes after this one's
      await within('readwrite', ({ pictures, fields, works }) => {
        if (isNew) pictures.put(blob, entry.id);
        for (const [field, key] of now) if (!before.has(field)) fields.put(field, key);
        for (const [field, key] of before) if (!now.has(field)) fields.delete(key);
        works.put({ ...entry, work: light });
      }).catch((error) => {
        known.delete(entry.id);
        stored.delete(entry.id);
        throw error;
      });
    },
    /** @param {string} id */
    async remove(id) {
      known.delete(id);
      stored.delete(id);
      await within('readwrite', ({ pictures, fields, works }) => {
        works.delete(id);
        pictures.delete(id);
        fields.delete(IDBKeyRange.bound(keyOf(id, ''), keyOf(id, '\uffff')));
      });
    },
    /** Every stored picture, none of them read. @returns {Promise<Listed[]>} */
    async list() {
      const { result } = await within('readonly', ({ works }) => works.getAll());
      return result.map((/** @type {any} */ { work, ...entry }) => ({ ...entry, objects: work.things.length }));
    },
    /** @param {string} id @returns {Promise<Blob | undefined>} */
    async picture(id) {
      return (await within('readonly', ({ pictures }) => pictures.get(id))).result;
    },
    /** @param {string} id @returns {Promise<Stored | null>} null when it was forgotten meanwhile */
    async open(id) {
      const own = IDBKeyRange.bound(keyOf(id, ''), keyOf(id, '\uffff'));
      const [entry, blob, keys, values] = (await within('readonly', ({ pictures, fields, works }) =>
        [works.get(id), pictures.get(id), fields.getAllKeys(own), fields.getAll(own)],
      )).map((/** @type {IDBRequest<any>} */ { result }) => result);
      if (!entry || !blob) return null;
      const fieldOf = new Map(keys.map((/** @type {string} */ key, /** @type {number} */ at) => [key, values[at]]));
      known.add(id);
      stored.set(id, new Map([...fieldOf].map(([key, field]) => [field, key])));
      return { ...entry, blob, work: exchanged(entry.work, (value) => fieldOf.get(value.field)) };
    },
  };
}

/** @param {string} id @param {string} name */
function keyOf(id, name) {
  return `${id}#${name}`;
}

function newName() {
  return Math.random().toString(36).slice(2);
}

/**
 * A copy of plain values in which some are exchanged, wherever they stand.
 * @param {any} value
 * @param {(value: any) => unknown} exchange undefined for what stays
 * @returns {any}
 */
function exchanged(value, exchange) {
  if (value === null || typeof value !== 'object') return value;
  const other = exchange(value);
  if (other !== undefined) return other;
  if (ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map((each) => exchanged(each, exchange));
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, exchanged(each, exchange)]));
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
