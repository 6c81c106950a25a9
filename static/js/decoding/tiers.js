// @ts-check
/** The device ladder: where a mask can be decoded, best first, and why a better place was refused. */

/** @import { DecoderInfo } from '../server/api.js' */

/** @typedef {'webgpu' | 'wasm-threads' | 'wasm' | 'server'} Tier */
/** @typedef {{tier: Tier, reason: string}} Refusal */
/** @typedef {'none' | 'no-adapter' | 'software' | 'hardware'} Gpu */
/** @typedef {{gpu: Gpu, wasm: boolean, isolated: boolean, cores: number, suspending: boolean}} Environment */

/** @type {readonly Tier[]} */
export const TIERS = ['webgpu', 'wasm-threads', 'wasm', 'server'];

/** @type {Record<Tier, string>} */
export const TIER_NAMES = {
  webgpu: 'WebGPU',
  'wasm-threads': 'WebAssembly, threads',
  wasm: 'WebAssembly, one thread',
  server: 'Server',
};

const MAX_THREADS = 4;
const HOVER_CONTRACT = { name: 'hover', version: 2 };

/** @returns {Promise<Environment>} */
export async function readEnvironment() {
  const wasm = typeof WebAssembly === 'object';
  return {
    gpu: await probeGpu(),
    wasm,
    isolated: globalThis.crossOriginIsolated === true,
    cores: navigator.hardwareConcurrency || 1,
    suspending: wasm && 'Suspending' in WebAssembly,
  };
}

/**
 * Which tiers to try, in order, and the refusals already known. A forced tier is the only one to try, and takes
 * a software adapter too.
 * @param {Environment} environment
 * @param {Tier | null} forced
 * @returns {{candidates: Tier[], refused: Refusal[]}}
 */
export function surveyTiers(environment, forced) {
  /** @type {Tier[]} */
  const candidates = [];
  /** @type {Refusal[]} */
  const refused = [];
  for (const tier of TIERS) {
    const reason = refusalReason(tier, environment, forced);
    if (reason) refused.push({ tier, reason });
    else candidates.push(tier);
  }
  return { candidates, refused };
}

/**
 * @param {Tier} tier
 * @param {Environment} environment
 */
export function threadsFor(tier, { cores }) {
  return tier === 'wasm-threads' ? Math.min(MAX_THREADS, cores) : 1;
}

/**
 * @param {Tier} tier
 * @param {readonly DecoderInfo[]} decoders in the server's order of preference
 * @returns {DecoderInfo}
 */
export function chooseDecoder(tier, decoders) {
  const known = decoders.filter(
    ({ contract, contract_version }) => contract === HOVER_CONTRACT.name && contract_version === HOVER_CONTRACT.version,
  );
  if (known.length === 0) throw new Error('The server offers no decoder that this page understands.');
  const preferred = tier === 'webgpu' ? 'fp16' : 'int8';
  return known.find(({ precision }) => precision === preferred) ?? known[0];
}

/**
 * @param {string} search of the page's address
 * @returns {Tier | null}
 */
export function forcedTier(search) {
  const wanted = new URLSearchParams(search).get('tier');
  return TIERS.find((tier) => tier === wanted) ?? null;
}

/**
 * @param {Tier} tier
 * @param {Environment} environment
 * @param {Tier | null} forced
 * @returns {string | null}
 */
function refusalReason(tier, { gpu, wasm, isolated, cores }, forced) {
  if (forced && tier !== forced) return `This address asks for ${TIER_NAMES[forced]}.`;
  if (tier === 'webgpu') {
    if (gpu === 'none') return 'This browser offers no WebGPU here.';
    if (gpu === 'no-adapter') return 'The browser found no graphics adapter.';
    if (gpu === 'software' && !forced) return 'The graphics adapter is emulated in software.';
  }
  if (tier !== 'server' && !wasm) return 'This browser has no WebAssembly.';
  if (tier === 'wasm-threads') {
    if (!isolated) return 'The page is not cross-origin isolated, so threads are off.';
    if (cores < 2) return 'This device offers one core.';
  }
  return null;
}

/** @returns {Promise<Gpu>} */
async function probeGpu() {
  const gpu = /** @type {any} */ (navigator).gpu;
  if (!gpu) return 'none';
  try {
    const adapter = await gpu.requestAdapter();
    if (!adapter) return 'no-adapter';
    const info = adapter.info ?? {};
    const emulated = /swiftshader|llvmpipe|software/i.test(`${info.architecture} ${info.description}`);
    return emulated || info.isFallbackAdapter || adapter.isFallbackAdapter ? 'software' : 'hardware';
  } catch {
    return 'no-adapter';
  }
}
