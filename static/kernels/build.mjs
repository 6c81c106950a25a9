// @ts-check
/** Compiles decoder.ts to WebAssembly beside it: with relaxed SIMD, and without for browsers that lack it. */

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const here = path.dirname(fileURLToPath(import.meta.url));
const FEATURES = { 'decoder.relaxed.wasm': 'simd,relaxed-simd', 'decoder.wasm': 'simd' };

for (const [name, features] of Object.entries(FEATURES)) {
  const options = ['-O3', '--noAssert', '--runtime', 'stub', '--use', 'abort=', '--enable', features];
  const files = ['decoder.ts', '--outFile', name, '--baseDir', here];
  const { error, stderr } = await asc.main([...files, ...options]);
  if (error) throw new Error(`${name} was not built: ${stderr}`);
}
