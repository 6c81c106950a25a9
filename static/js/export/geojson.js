// @ts-check
/** GeoJSON in pixels, polygons with holes. sam/formats/geojson.py is its twin and has the sources. */

/** @import { Ring } from './polygons.js' */
/** @import { Files, MaskObject, Session } from './session.js' */
import { channelsOf } from './session.js';
import { objectOutline, pointsOf } from './shapes.js';
import { encodeJson, number, stem } from './text.js';
import { NO_REPORT } from './work.js';

/**
 * NAME.geojson.
 * @param {Session} session
 * @param {{tolerance?: number | null}} [options]
 * @returns {Promise<Files>}
 */
export async function write({ picture, objects }, { tolerance = null } = {}, work = NO_REPORT) {
  const features = [];
  for (const [index, item] of objects.entries()) {
    features.push(feature(index, item, tolerance));
    await work.step((index + 1) / objects.length);
  }
  return { [`${stem(picture.name)}.geojson`]: encodeJson({ type: 'FeatureCollection', features }) };
}

/** @param {number} index @param {MaskObject} item @param {number | null} tolerance */
function feature(index, item, tolerance) {
  const { label, colour, visible, score } = item;
  const found = objectOutline(item, tolerance);
  const polygons = found.polygons.map((polygon) => polygon.map(closed));
  const many = polygons.length > 1;
  return {
    type: 'Feature',
    id: index + 1,
    geometry: { type: many ? 'MultiPolygon' : 'Polygon', coordinates: many ? polygons : polygons[0] },
    properties: {
      objectType: 'annotation',
      name: label,
      classification: { name: label, color: channelsOf(colour) },
      visible,
      score: score === null ? null : number(score, 4),
      error: number(found.error, 3),
    },
  };
}

/** @param {Ring} ring */
function closed(ring) {
  const points = pointsOf(ring).map(([x, y]) => [number(x), number(y)]);
  return [...points, points[0]];
}
