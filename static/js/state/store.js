// @ts-check
/** A store: one value, who listens to it, and ways to wait for what it becomes. */

/**
 * @template T
 * @typedef {object} Store
 * @property {() => T} get
 * @property {(next: T) => void} set
 * @property {(part: Partial<T>) => void} patch
 * @property {(listener: (state: T) => void) => () => void} subscribe
 */

/**
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let state = initial;
  /** @type {Set<(state: T) => void>} */
  const listeners = new Set();

  /** @param {T} next */
  function set(next) {
    if (next === state) return;
    state = next;
    for (const listener of [...listeners]) listener(state);
  }

  return {
    get: () => state,
    set,
    patch: (part) => set({ ...state, ...part }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Call `react` now and whenever the selected value changes.
 * @template T, V
 * @param {Store<T>} store
 * @param {(state: T) => V} select
 * @param {(value: V, state: T) => void} react
 * @param {(a: V, b: V) => boolean} [same]
 */
export function watch(store, select, react, same = Object.is) {
  let value = select(store.get());
  react(value, store.get());
  return store.subscribe((state) => {
    const next = select(state);
    if (same(value, next)) return;
    value = next;
    react(value, state);
  });
}

/**
 * The first state that fulfils a condition, perhaps the present one.
 * @template T
 * @param {Store<T>} store
 * @param {(state: T) => unknown} fulfils
 * @returns {Promise<T>}
 */
export function until(store, fulfils) {
  return new Promise((resolve) => {
    const stop = store.subscribe(look);
    look(store.get());

    /** @param {T} state */
    function look(state) {
      if (!fulfils(state)) return;
      stop();
      resolve(state);
    }
  });
}
