// @ts-check
/**
 * Copies the files of ONNX Runtime that the page loads, and their licence, into static/vendor; beside each of them its
 * packed forms, which the server sends to browsers that take them.
 *
 * Brotli makes of the 14.2 MB of wasm 2.67 MB in 2 seconds at quality 9, 2.39 in 16 at 10, 2.30 in 25 at 11. gzip, for
 * whoever lacks Brotli (browsers do without TLS, unless the server is this machine), makes 3.69 MB.
 */

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { ORT_VERSION, RUNTIMES } from './js/runtime.js';

const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_LGWIN]: 24 };

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
await Promise.all(Object.values(RUNTIMES).map(async ({ module, wasm }) => {
  await writeWithPacked(wasm, await readFile(path.join(source, wasm)));
  await writeWithPacked(module, withoutSourceMap(await readFile(path.join(source, module), 'utf8')));
}));
await cp(path.join(here, 'onnxruntime-web.licence.txt'), path.join(target, 'LICENSE.txt'));

/**
 * @param {string} name
 * @param {Buffer} data
 */
async function writeWithPacked(name, data) {
  const file = path.join(target, name);
  const brotli = { params: { ...BROTLI, [constants.BROTLI_PARAM_SIZE_HINT]: data.length } };
  await Promise.all([
    writeFile(file, data),
    promisify(brotliCompress)(data, brotli).then((packed) => writeFile(`${file}.br`, packed)),
    promisify(gzip)(data, { level: 9 }).then((packed) => writeFile(`${file}.gz`, packed)),
  ]);
}

/** The source maps stay behind, so nothing should ask for them. @param {string} code */
function withoutSourceMap(code) {
  return Buffer.from(code.replace(/^\/\/# sourceMappingURL=.*$/m, ''));
}
