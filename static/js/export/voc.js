// @ts-check
/** Pascal VOC's folders. sam/formats/voc.py is its twin and has the sources. */

/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { MOST_IDS } from './masks.js';
import { encodePng, paletteOf } from './png.js';
import { windowOf } from './runs.js';
import { channelsOf, classesOf, paletteColour } from './session.js';
import { flatten } from './shapes.js';
import { content, encodeText, stem } from './text.js';
import { NO_REPORT } from './work.js';

/**
 * Annotations/, ImageSets/, SegmentationClass/, SegmentationObject/ and labelmap.txt; an error for more than 254
 * objects.
 * @param {Session} session
 * @param {{classes?: Map<string, number>}} [options]
 * @returns {Promise<Files>}
 */
export async function write(session, { classes = classesOf(session) } = {}, work = NO_REPORT) {
  const { picture, objects } = session;
  if (objects.length > MOST_IDS) {
    throw new RangeError(`Pascal VOC holds ${MOST_IDS} objects in a picture, these are ${objects.length}; use COCO`);
  }
  const name = stem(picture.name);
  const byObject = await flatten(objects, picture, objects.map((_, index) => index + 1), work.part(0, 0.2));
  const kinds = objects.map(({ label }) => 1 + (classes.get(label) ?? 0));
  const byClass = await flatten(objects, picture, kinds, work.part(0.2, 0.4));
  const map = [['background', 0], ...[...classes].map(([label, index]) => [label, 1 + index])];
  return {
    [`Annotations/${name}.xml`]: encodeText(boxes(session)),
    'ImageSets/Main/default.txt': encodeText(`${name}\n`),
    'ImageSets/Segmentation/default.txt': encodeText(`${name}\n`),
    [`SegmentationClass/${name}.png`]: await indexed(picture, byClass, work.part(0.4, 0.7)),
    [`SegmentationObject/${name}.png`]: await indexed(picture, byObject, work.part(0.7, 1)),
    'labelmap.txt': encodeText(map.map(([label, index]) => mapLine(String(label), Number(index))).join('')),
  };
}

/** @param {Picture} picture @param {Uint8Array} ids @param {import('./work.js').Work} work */
function indexed(picture, ids, work) {
  return encodePng(picture, 'indexed', (y, row) => {
    row.set(ids.subarray(y * picture.width, (y + 1) * picture.width));
  }, { palette: paletteOf() }, work);
}

/** @param {string} label @param {number} index */
function mapLine(label, index) {
  return `${label.replaceAll(':', '_')}:${channelsOf(paletteColour(index % 256)).join(',')}::\n`;
}

/** @param {Session} session */
function boxes({ picture: { name, width, height }, objects }) {
  return [
    '<annotation>', '  <folder></folder>', `  <filename>${content(name)}</filename>`,
    `  <size><width>${width}</width><height>${height}</height><depth>3</depth></size>`,
    '  <segmented>1</segmented>', ...objects.map(box), '</annotation>', '',
  ].join('\n');
}

/** @param {MaskObject} item */
function box({ label, mask }) {
  const { x, y, width, height } = windowOf(mask);
  const corners = Object.entries({ xmin: x + 1, ymin: y + 1, xmax: x + width, ymax: y + height });
  const text = corners.map(([key, value]) => `<${key}>${value}</${key}>`).join('');
  return `  <object><name>${content(label)}</name><pose>Unspecified</pose><truncated>0</truncated>` +
    `<difficult>0</difficult><bndbox>${text}</bndbox></object>`;
}
