// @ts-check
/** The kernel's memory: what it keeps lies below, what one prompt needs above, and is forgotten with the next. */

/** @typedef {ReturnType<typeof createMemory>} Memory */

const PAGE = 65_536;
const LINE = 64; // bytes of a cache line

/** @param {WebAssembly.Memory} memory */
export function createMemory(memory) {
  let top = PAGE;

  /**
   * @param {number} count of float32
   * @returns {number} an address
   */
  function reserve(count) {
    const at = top;
    top += Math.ceil((count * 4) / LINE) * LINE;
    const missing = top - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    return at;
  }

  /**
   * @param {number} at
   * @param {number} count
   * @returns {Float32Array<ArrayBuffer>} a view, until memory grows
   */
  function numbers(at, count) {
    return new Float32Array(/** @type {ArrayBuffer} */ (memory.buffer), at, count);
  }

  return {
    reserve,
    numbers,
    /** @param {ArrayLike<number>} values */
    put(values) {
      const at = reserve(values.length);
      numbers(at, values.length).set(values);
      return at;
    },
    /** @param {number} count */
    zeros(count) {
      const at = reserve(count);
      numbers(at, count).fill(0);
      return at;
    },
    mark: () => top,
    /** @param {number} mark forget what was reserved after it */
    release(mark) {
      top = mark;
    },
  };
}
