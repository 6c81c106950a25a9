// @ts-check
/** Which files that a person drops are pictures, and which hold what was made of pictures. */

/** @import { Size } from '../masks/geometry.js' */

const ANNOTATIONS = /\.(json|txt|ya?ml|names|zip)$/i;
/** Where a PNG tells its size and its colours; grey and indexed ones may be masks. */
const HEADER = { bytes: 26, width: 16, height: 20, colours: 25 };
const MASK_COLOURS = [0, 3];

/**
 * A PNG is taken for a mask when it has the size of a picture that is open and no colours of its own.
 * @template {Blob} T
 * @param {readonly T[]} files
 * @param {readonly Size[]} sizes of the pictures that are open
 * @returns {Promise<{pictures: T[], annotations: T[]}>}
 */
export async function sortFiles(files, sizes) {
  const isAnnotation = await Promise.all(files.map(async (file) => (
    ANNOTATIONS.test(nameOf(file)) || (/\.png$/i.test(nameOf(file)) && sizes.length > 0 && isMask(file, sizes)))));
  return { pictures: files.filter((_, at) => !isAnnotation[at]), annotations: files.filter((_, at) => isAnnotation[at]) };
}

/** @param {Blob} file */
function nameOf(file) {
  return file instanceof File ? file.name : '';
}

/** @param {Blob} file @param {readonly Size[]} sizes */
async function isMask(file, sizes) {
  const view = new DataView(await file.slice(0, HEADER.bytes).arrayBuffer());
  if (view.byteLength < HEADER.bytes || !MASK_COLOURS.includes(view.getUint8(HEADER.colours))) return false;
  const [width, height] = [view.getUint32(HEADER.width), view.getUint32(HEADER.height)];
  return sizes.some((size) => size.width === width && size.height === height);
}
