// @ts-check
/** Requests to a worker as promises: each carries an id and is answered once, with a result, an error or a timeout. */

/** @typedef {Pick<Worker, 'postMessage' | 'terminate' | 'addEventListener'>} WorkerLike */
/** @typedef {ReturnType<typeof createMessenger>} Messenger */

/** @param {WorkerLike} worker */
export function createMessenger(worker) {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: (message: any) => void}>} */
  const waiting = new Map();
  let lastId = 0;

  worker.addEventListener('message', (event) => {
    const message = /** @type {MessageEvent} */ (event).data;
    const request = waiting.get(message.id);
    if (!request) return;
    if (message.type === 'progress') return request.onProgress?.(message);
    waiting.delete(message.id);
    if (message.type === 'error') request.reject(rebuild(message.error));
    else request.resolve(message);
  });
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    failAll(new Error(/** @type {ErrorEvent} */ (event).message || 'The worker could not start.'));
  });
  worker.addEventListener('messageerror', () => failAll(new Error('A message of the worker could not be read.')));

  /** @param {Error} error */
  function failAll(error) {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  /**
   * @param {number} id
   * @param {number} patience
   */
  function giveUp(id, patience) {
    waiting.get(id)?.reject(new Error(`The worker did not answer within ${Math.round(patience / 1000)} s.`));
    waiting.delete(id);
  }

  return {
    /**
     * @param {{type: string, [field: string]: unknown}} message
     * @param {{transfer?: Transferable[], onProgress?: (message: any) => void, patience?: number}} [options] patience in ms
     * @returns {Promise<any>}
     */
    request(message, { transfer = [], onProgress, patience } = {}) {
      const id = (lastId += 1);
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let alarm;
      const answer = new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject, onProgress });
        if (patience !== undefined) alarm = setTimeout(() => giveUp(id, patience), patience);
        worker.postMessage({ ...message, id }, transfer);
      });
      return answer.finally(() => clearTimeout(alarm));
    },
    dispose() {
      worker.terminate();
      failAll(new Error('The worker was stopped.'));
    },
  };
}

/** @param {{name: string, message: string}} description */
function rebuild({ name, message }) {
  const error = new Error(message);
  error.name = name;
  return error;
}
