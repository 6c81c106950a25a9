// @ts-check
/**
 * Pure geometry: picture pixels, the model's prompt frame, and where the picture lies on the stage.
 *
 * Three spaces, always named: `picture` is the original picture in pixels (after EXIF orientation), `frame` is
 * the model's padded square (1024), `stage` is the page's drawing area in CSS pixels.
 */

/** @typedef {{width: number, height: number}} Size */
/** @typedef {readonly [x: number, y: number]} Point */
/** @typedef {readonly [x0: number, y0: number, x1: number, y1: number]} Box */

/**
 * The three sizes of one picture, as the server's ImageFrame holds them; or of a closer view, a part of the picture.
 * @typedef {object} Frame
 * @property {Point} origin where in the picture the view begins; [0, 0] for all of it
 * @property {Size} original the view in the picture's pixels
 * @property {Size} resized the same inside the frame, top left
 * @property {number} side of the padded square
 */

/**
 * Where the picture lies on the stage, in CSS pixels.
 * @typedef {{x: number, y: number, width: number, height: number}} View
 */

/**
 * How a picture is looked at when it does not fill the stage: CSS pixels per pixel, and what lies in the middle.
 * @typedef {{readonly scale: number, readonly middle: Point}} Lens
 */

/** Values on each side of a mask as the decoder gives it; they span the frame. */
export const GRID = 256;

/** Parts of a pixel that a position tells apart. */
const FINEST_PARTS = 256;

/**
 * @param {Size} original
 * @param {Size} resized
 * @param {number} side
 * @param {Point} [origin]
 * @returns {Frame}
 */
export function createFrame(original, resized, side, origin = [0, 0]) {
  for (const size of [original, resized]) {
    if (!(size.width >= 1 && size.height >= 1)) throw new RangeError(`A picture of ${format(size)} has no pixels.`);
  }
  if (Math.max(resized.width, resized.height) > side) {
    throw new RangeError(`A picture resized to ${format(resized)} does not fit a frame of side ${side}.`);
  }
  return { origin, original, resized, side };
}

/**
 * Whether two views are the same; null stands for all of the picture.
 * @param {Frame | null} [a]
 * @param {Frame | null} [b]
 */
export function sameFrame(a, b) {
  return a === b || JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

/** @param {Frame} frame @returns {Box} of the picture */
export function boxOf({ origin: [x, y], original: { width, height } }) {
  return [x, y, x + width, y + height];
}

/**
 * Per axis, because rounding gives each axis its own ratio.
 * @param {Frame} frame
 * @param {Point} point
 * @returns {Point}
 */
export function pictureToFrame({ origin, original, resized }, [x, y]) {
  return [((x - origin[0]) * resized.width) / original.width, ((y - origin[1]) * resized.height) / original.height];
}

/**
 * @param {Frame} frame
 * @param {Point} point
 * @returns {Point}
 */
export function frameToPicture({ origin, original, resized }, [x, y]) {
  return [origin[0] + (x * original.width) / resized.width, origin[1] + (y * original.height) / resized.height];
}

/**
 * The part of the low-resolution grid that the picture occupies, in cells from the top left; fractional.
 * @param {Pick<Frame, 'resized' | 'side'>} frame
 * @param {number} grid side of the low-resolution mask
 * @returns {Size}
 */
export function gridRegion({ resized, side }, grid) {
  return { width: (resized.width * grid) / side, height: (resized.height * grid) / side };
}

/**
 * The largest centred placement of a picture on a stage, enlarged at most `maxScale` times.
 * @param {Size} picture
 * @param {Size} stage
 * @param {number} [maxScale]
 * @returns {View}
 */
export function fitView(picture, stage, maxScale = Infinity) {
  const scale = Math.min(stage.width / picture.width, stage.height / picture.height, maxScale);
  const width = Math.max(1, picture.width * scale);
  const height = Math.max(1, picture.height * scale);
  return { x: (stage.width - width) / 2, y: (stage.height - height) / 2, width, height };
}

/**
 * @param {Size} picture
 * @param {Size} stage
 * @param {Lens} lens
 * @returns {View}
 */
export function lensView(picture, stage, { scale, middle }) {
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { x: stage.width / 2 - middle[0] * scale, y: stage.height / 2 - middle[1] * scale, width, height };
}

/**
 * The lens of another scale under which a point of the picture stays where it is on the stage.
 * @param {View} view
 * @param {Size} picture
 * @param {Size} stage
 * @param {Point} at on the stage
 * @param {number} scale
 * @returns {Lens}
 */
export function zoomedAt(view, picture, stage, at, scale) {
  const [x, y] = stageToPicture(view, picture, at);
  return { scale, middle: [x + (stage.width / 2 - at[0]) / scale, y + (stage.height / 2 - at[1]) / scale] };
}

/**
 * A lens that always shows some of the picture.
 * @param {Lens} lens
 * @param {Size} picture
 * @returns {Lens}
 */
export function keptInside({ scale, middle: [x, y] }, { width, height }) {
  return { scale, middle: [clamp(x, 0, width), clamp(y, 0, height)] };
}

/**
 * @param {View} view
 * @param {Size} picture
 * @param {Point} point on the stage
 * @returns {Point} in the picture; outside it the values lie outside [0, size]
 */
export function stageToPicture(view, picture, [x, y]) {
  return [((x - view.x) * picture.width) / view.width, ((y - view.y) * picture.height) / view.height];
}

/**
 * @param {View} view
 * @param {Size} picture
 * @param {Point} point in the picture
 * @returns {Point} on the stage
 */
export function pictureToStage(view, picture, [x, y]) {
  return [view.x + (x * view.width) / picture.width, view.y + (y * view.height) / picture.height];
}

/**
 * @param {Size} picture
 * @param {Point} point
 */
export function isInside({ width, height }, [x, y]) {
  return x >= 0 && y >= 0 && x < width && y < height;
}

/**
 * The position in the picture nearest to a point. Parts of a pixel are kept, because a pixel of a tiny picture covers
 * many cells of the low-resolution grid.
 * @param {Size} picture
 * @param {Point} point
 * @returns {Point}
 */
export function positionIn({ width, height }, [x, y]) {
  return [clamp(inFinestParts(x), 0, width), clamp(inFinestParts(y), 0, height)];
}

/**
 * The box between two corners given in any order, inside the picture.
 * @param {Size} picture
 * @param {Point} from
 * @param {Point} to
 * @returns {Box}
 */
export function boxBetween(picture, from, to) {
  const [[fromX, fromY], [toX, toY]] = [positionIn(picture, from), positionIn(picture, to)];
  return [Math.min(fromX, toX), Math.min(fromY, toY), Math.max(fromX, toX), Math.max(fromY, toY)];
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** @param {number} value */
function inFinestParts(value) {
  return Math.round(value * FINEST_PARTS) / FINEST_PARTS;
}

/** @param {Size} size */
function format({ width, height }) {
  return `${width} x ${height}`;
}
