// @ts-check
/** The benchmark's page: nothing but the worker in which decoders run, as they do under the real page. */

new Worker(new URL('bench.worker.js', import.meta.url), { type: 'module', name: 'bench' });
