// @ts-check
/** A built file and, beside it, its packed forms, which the server sends to browsers that take them. */

import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const WINDOW = 24;

/**
 * @param {string} file
 * @param {Uint8Array} data
 * @param {number} [quality] of Brotli, to 11
 */
export async function writePacked(file, data, quality = 11) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: WINDOW,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
  };
  await Promise.all([
    writeFile(file, data),
    promisify(brotliCompress)(data, { params }).then((packed) => writeFile(`${file}.br`, packed)),
    promisify(gzip)(data, { level: 9 }).then((packed) => writeFile(`${file}.gz`, packed)),
  ]);
}
