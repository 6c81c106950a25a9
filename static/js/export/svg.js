// @ts-check
/** SVG paths, smooth within a tolerance, or exact along the pixels. sam/formats/svg.py is its twin. */

/** @import { Curve } from './curves.js' */
/** @import { Ring } from './polygons.js' */
/** @import { Files, MaskObject, Session } from './session.js' */
import { fitRing, flattenCurves } from './curves.js';
import { LEAST_IOU, TOLERANCES, checkTolerance, fill, iou, trace } from './polygons.js';
import { cropRuns } from './runs.js';
import { moved, pointsOf } from './shapes.js';
import { attribute, content, encodeText, number, stem } from './text.js';
import { NO_REPORT } from './work.js';

/** @typedef {{d: string, error: number, points: number}} Path error in pixels; handles are not counted as points */

/**
 * NAME.svg; objects that are not visible are hidden.
 * @param {Session} session
 * @param {{tolerance?: number | null}} [options]
 * @returns {Promise<Files>}
 */
export async function write({ picture, objects }, { tolerance = null } = {}, work = NO_REPORT) {
  const { name, width, height } = picture;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>', `<svg xmlns="http://www.w3.org/2000/svg" ${size}>`,
    `<title>${content(name)}</title>`,
  ];
  for (const [index, item] of objects.entries()) {
    lines.push(element(index, item, objectPath(item, tolerance)));
    await work.step((index + 1) / objects.length);
  }
  return { [`${stem(name)}.svg`]: encodeText([...lines, '</svg>', ''].join('\n')) };
}

/** @param {number} index @param {MaskObject} item @param {Path} path */
function element(index, { label, colour, visible }, { d, error }) {
  const hidden = visible ? '' : ' display="none"';
  return `<path id="object-${index + 1}" data-label=${attribute(label)} data-error="${number(error, 3)}" ` +
    `fill="${colour}" ` +
    `fill-rule="evenodd"${hidden} d="${d}"><title>${content(label)}</title></path>`;
}

/**
 * An object's path within a tolerance in pixels, 0 for straight lines along the pixels; by default the largest of
 * `TOLERANCES` that leaves an IoU of `LEAST_IOU`. The page's slider calls this for the numbers it shows.
 * @param {MaskObject} item
 * @param {number | null} [tolerance]
 * @returns {Path}
 */
export function objectPath({ mask }, tolerance = null) {
  checkTolerance(tolerance);
  const crop = cropRuns(mask);
  const rings = trace(crop);
  for (const allowed of tolerance === null ? TOLERANCES : [tolerance]) {
    if (allowed === 0) break;
    const fitted = rings.map((ring) => fitRing(ring, allowed));
    const covered = () => fill(fitted.map(({ curves }) => flattenCurves(curves)), crop.width, crop.height);
    if (tolerance === null && iou(covered(), crop.data) < LEAST_IOU) continue;
    const place = [crop.x, crop.y];
    const curves = fitted.map((found) => found.curves.map((curve) => curve.map((value, i) => value + place[i % 2])));
    const error = Math.max(...fitted.map((found) => found.error));
    return { d: curves.map(curved).join(''), error, points: curves.flat().length };
  }
  const lines = rings.map((ring) => straight(moved(ring, crop.x, crop.y)));
  return { d: lines.join(''), error: 0, points: rings.reduce((sum, ring) => sum + ring.length / 2, 0) };
}

/** Along the pixels every line is level or upright. @param {Ring} ring */
function straight(ring) {
  const points = pointsOf(ring);
  const turns = points.slice(1).map(([x, y], i) => (y === points[i][1] ? `H${x}` : `V${y}`));
  return `M${points[0].join(' ')}${turns.join('')}Z`;
}

/** @param {readonly Curve[]} curves */
function curved(curves) {
  const text = (/** @type {number[]} */ values) => values.map((value) => number(value)).join(' ');
  return `M${text(curves[0].slice(0, 2))}${curves.map((curve) => `C${text(curve.slice(2))}`).join('')}Z`;
}
