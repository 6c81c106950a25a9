// @ts-check
/** Copies the files of ONNX Runtime that the page loads, and their licence, into static/vendor. */

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ORT_VERSION, RUNTIMES } from './js/runtime.js';

const here = path.dirname(fileURLToPath(import.meta.url));
const source = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-web'));
const vendor = path.join(here, 'vendor');
const target = path.join(vendor, `onnxruntime-web-${ORT_VERSION}`);

const { version } = JSON.parse(await readFile(path.join(source, '..', 'package.json'), 'utf8'));
if (version !== ORT_VERSION) {
  throw new Error(`static/js/runtime.js asks for onnxruntime-web ${ORT_VERSION}, but ${version} is installed.`);
}

await rm(vendor, { recursive: true, force: true });
await mkdir(target, { recursive: true });
for (const { module, wasm } of Object.values(RUNTIMES)) {
  await cp(path.join(source, wasm), path.join(target, wasm));
  await writeFile(path.join(target, module), withoutSourceMap(await readFile(path.join(source, module), 'utf8')));
}
await cp(path.join(here, 'onnxruntime-web.licence.txt'), path.join(target, 'LICENSE.txt'));

/** The source maps stay behind, so nothing should ask for them. @param {string} code */
function withoutSourceMap(code) {
  return code.replace(/^\/\/# sourceMappingURL=.*$/m, '');
}
