// @ts-check
/** What is asked of WebGPU: how many compute dispatches, how many bytes read back. */

const work = { dispatches: 0, bytesRead: 0 };

/** Start counting; once per worker, before the runtime takes hold of the device. */
export function countGpuWork() {
  const { GPUComputePassEncoder, GPUBuffer } = /** @type {any} */ (globalThis);
  before(GPUComputePassEncoder.prototype, 'dispatchWorkgroups', () => (work.dispatches += 1));
  before(GPUComputePassEncoder.prototype, 'dispatchWorkgroupsIndirect', () => (work.dispatches += 1));
  before(GPUBuffer.prototype, 'mapAsync', (buffer) => (work.bytesRead += buffer.size));
}

/** @returns {{dispatches: number, bytesRead: number}} since the last call */
export function takeGpuWork() {
  const taken = { ...work };
  Object.assign(work, { dispatches: 0, bytesRead: 0 });
  return taken;
}

/**
 * @param {any} prototype
 * @param {string} method
 * @param {(target: any) => void} note
 */
function before(prototype, method, note) {
  const original = prototype[method];
  prototype[method] = function counted(/** @type {unknown[]} */ ...values) {
    note(this);
    return original.apply(this, values);
  };
}
