// @ts-check
/**
 * Copies the files of ONNX Runtime that the page loads, and their licence, into static/vendor; beside each of them its
 * packed forms, which the server sends to browsers that take them.
 *
 * Brotli makes of the 14.2 MB of wasm 2.67 MB in 2 seconds at quality 9, 2.39 in 16 at 10, 2.30 in 25 at 11. gzip, for
 * whoever lacks Brotli (browsers do without TLS, unless the server is this machine), makes 3.69 MB.
 */

import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ORT_VERSION, RUNTIMES } from './js/decoding/runtime.js';
import { writePacked } from './pack.mjs';

const QUALITY = 10;

const here = path.dirname(fileURLToPath(import.meta.url));
const source = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-web'));
const vendor = path.join(here, 'vendor');
const target = path.join(vendor, `onnxruntime-web-${ORT_VERSION}`);

const { version } = JSON.parse(await readFile(path.join(source, '..', 'package.json'), 'utf8'));
if (version !== ORT_VERSION) {
  throw new Error(`static/js/decoding/runtime.js asks for onnxruntime-web ${ORT_VERSION}, but ${version} is installed.`);
}

await rm(vendor, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await Promise.all(Object.values(RUNTIMES).map(async ({ module, wasm }) => {
  await writePacked(path.join(target, wasm), await readFile(path.join(source, wasm)), QUALITY);
  const code = withoutSourceMap(await readFile(path.join(source, module), 'utf8'));
  await writePacked(path.join(target, module), code, QUALITY);
}));
await cp(path.join(here, 'onnxruntime-web.licence.txt'), path.join(target, 'LICENSE.txt'));

/** The source maps stay behind, so nothing should ask for them. @param {string} code */
function withoutSourceMap(code) {
  return Buffer.from(code.replace(/^\/\/# sourceMappingURL=.*$/m, ''));
}
