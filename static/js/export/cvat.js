// @ts-check
/** CVAT's XML for images 1.1, exact. sam/formats/cvat.py is its twin and has the sources. */

/** @import { Files, MaskObject, Session } from './session.js' */
import { cropRuns } from './runs.js';
import { classColour, classesOf } from './session.js';
import { attribute, content, encodeText, stem } from './text.js';
import { NO_REPORT } from './work.js';

/**
 * NAME.cvat.xml.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function write(session, _options = {}, work = NO_REPORT) {
  const { picture: { name, width, height }, objects } = session;
  const masks = [];
  for (const [index, item] of objects.entries()) {
    masks.push(maskOf(index, item));
    await work.step((index + 1) / objects.length);
  }
  const lines = [
    '<?xml version="1.0" encoding="utf-8"?>', '<annotations>', '  <version>1.1</version>', '  <meta>', '    <task>',
    `      <name>${content(name)}</name>`, '      <size>1</size>', '      <mode>annotation</mode>', '      <labels>',
    ...[...classesOf(session)].map(labelOf), '      </labels>', '    </task>', '  </meta>',
    `  <image id="0" name=${attribute(name)} width="${width}" height="${height}">`,
    ...masks, '  </image>', '</annotations>', '',
  ];
  return { [`${stem(name)}.cvat.xml`]: encodeText(lines.join('\n')) };
}

/** @param {[string, number]} entry */
function labelOf([label, index]) {
  const colour = classColour(index);
  return `        <label><name>${content(label)}</name><color>${colour}</color><type>any</type><attributes/></label>`;
}

/** @param {number} order @param {MaskObject} item */
function maskOf(order, { label, mask }) {
  const crop = cropRuns(mask);
  const runs = rowRuns(crop.data).join(', ');
  const place = `left="${crop.x}" top="${crop.y}" width="${crop.width}" height="${crop.height}"`;
  const start = `    <mask label=${attribute(label)} source="semi-auto" occluded="0"`;
  return `${start} rle="${runs}" ${place} z_order="${order}"></mask>`;
}

/** Runs along the rows, of nothing and of mask in turn, nothing first. @param {Uint8Array} data */
function rowRuns(data) {
  /** @type {number[]} */
  const runs = [];
  let [value, from] = [0, 0];
  data.forEach((pixel, at) => {
    if (pixel === value) return;
    runs.push(at - from);
    [value, from] = [pixel, at];
  });
  return [...runs, data.length - from];
}
