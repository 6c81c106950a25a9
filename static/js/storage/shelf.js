// @ts-check
/** Small texts that the browser keeps for us, or the page itself where it may not. */

/**
 * Browsers refuse their stores to pages that others frame, and to whom their person says so: there, what is set lasts
 * as long as the page.
 * @param {() => Storage} open
 */
export function createShelf(open) {
  /** @type {Map<string, string>} */
  const own = new Map();
  return {
    /** @param {string} name @returns {string | null} */
    get(name) {
      try {
        return open().getItem(name);
      } catch {
        return own.get(name) ?? null;
      }
    },
    /** @param {string} name @param {string} value */
    set(name, value) {
      try {
        open().setItem(name, value);
      } catch {
        own.set(name, value);
      }
    },
  };
}

/** Kept for good. */
export const forGood = createShelf(() => localStorage);
/** Kept as long as the tab is open. */
export const forTab = createShelf(() => sessionStorage);
