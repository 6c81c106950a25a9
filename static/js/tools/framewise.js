// @ts-check
/** At most one call per animation frame, with the newest value. */

/**
 * @template Value
 * @param {(value: Value) => void} handle
 * @param {(callback: () => void) => void} [onFrame]
 */
export function framewise(handle, onFrame = requestAnimationFrame) {
  /** @type {{value: Value} | null} */
  let waiting = null;
  let scheduled = false;

  function deliver() {
    scheduled = false;
    const newest = waiting;
    waiting = null;
    if (newest) handle(newest.value);
  }

  return {
    /** @param {Value} value */
    push(value) {
      waiting = { value };
      if (!scheduled) onFrame(deliver);
      scheduled = true;
    },
    /** Forget what waits. */
    clear() {
      waiting = null;
    },
  };
}
