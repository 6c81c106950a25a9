// @ts-check
/** What a tool is: its name, its key, and what it makes of presses on the picture. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Point, Size } from '../masks/geometry.js' */
/** @import { State } from '../state/state.js' */

/**
 * A press in pixels of the picture; positions outside it are possible. `again` tells the second of two quick taps.
 * @typedef {{from: Point, to: Point, opposite: boolean, pressure: number, again: boolean}} Stroke
 */

/**
 * @typedef {object} ToolContext
 * @property {Actions} actions
 * @property {() => State} state
 * @property {() => Size} size of the picture
 * @property {(length: number) => number} pixels of the picture that so many CSS pixels cover
 */

/**
 * What a tool does; what it leaves out does nothing.
 * @typedef {object} ToolHandlers
 * @property {(stroke: Stroke) => void} [tap]
 * @property {(stroke: Stroke) => void} [start]
 * @property {(stroke: Stroke) => void} [move]
 * @property {(stroke: Stroke) => void} [end]
 * @property {() => void} [cancel]
 */

/**
 * @typedef {object} Tool
 * @property {string} id
 * @property {string} name
 * @property {string} hint a sentence that teaches it
 * @property {string} key
 * @property {string} icon path data in a square of 20
 * @property {'crosshair' | 'none' | 'grab'} cursor
 * @property {boolean} [startsAtOnce] a press draws from its first moment; otherwise it may become a tap
 * @property {boolean} [pans] a drag moves the picture
 * @property {(context: ToolContext) => ToolHandlers} use
 */

export {};
