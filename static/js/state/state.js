// @ts-check
/** All that the page knows, as one immutable value: its parts, and how it begins. */

/** @import { PictureForDecoder } from '../decoding/backends.js' */
/** @import { Refusal, Tier } from '../decoding/tiers.js' */
/** @import { CloserView } from '../masks/closer-views.js' */
/** @import { Found, Grain, Preset } from '../masks/found.js' */
/** @import { Lens, Point, Size } from '../masks/geometry.js' */
/** @import { Label, Prompts } from '../masks/prompts.js' */
/** @import { GalleryItem, ImageRecord, ModelInfo, ModelOffer } from '../server/api.js' */
/** @import { Mask, Timeline } from './work.js' */

/** @typedef {{title: string, detail: string}} Problem what went wrong, in the user's words */

/**
 * @typedef {{status: 'loading'}
 *   | {status: 'ready', info: ModelInfo}
 *   | {status: 'failed', problem: Problem}} Service
 */

/**
 * @typedef {{status: 'loading', tier: Tier | null, progress: number | null, refused: readonly Refusal[]}
 *   | {status: 'ready', tier: Tier, threads: number, precision: string, refused: readonly Refusal[]}
 *   | {status: 'failed', problem: Problem, refused: readonly Refusal[]}} Decoder
 */

/**
 * The models to choose from, and where the choice is.
 * @typedef {object} Models
 * @property {readonly ModelOffer[]} offers
 * @property {string | null} chosen by its id; null for the server's default
 * @property {string | null} coming the one that is being downloaded or loaded
 * @property {Readonly<Record<string, number | null>>} shares of each download that have arrived, from 0 to 1
 * @property {string | null} asked the one whose download waits for a yes
 */

/**
 * Where a picture is on its way; progress runs from 0 to 1 and is null while unknown. One that the server refused for
 * now is sent again after so many seconds.
 * @typedef {{status: 'reading'}
 *   | {status: 'uploading' | 'downloading', progress: number | null}
 *   | {status: 'encoding', progress: number | null, ahead: number}
 *   | {status: 'refused', seconds: number}
 *   | {status: 'ready'}
 *   | {status: 'failed', problem: Problem}} Phase
 */

/**
 * @typedef {object} Picture
 * @property {number} key tells this opening of a picture from any other
 * @property {string} name
 * @property {Blob} blob
 * @property {string | null} from the stored picture that this one goes on from
 * @property {Phase} phase
 * @property {Size | null} size as the browser decodes it, until the server's record is there
 * @property {ImageBitmap | null} bitmap possibly smaller than the picture; whoever draws it takes it away
 * @property {ImageRecord | null} record
 * @property {number | null} encodeSeconds
 * @property {PictureForDecoder | null} decodable what the decoder is given, once it is there
 * @property {readonly CloserView[]} views closer ones that are there, the newest first
 * @property {string | null} thumbnail address of a small picture
 * @property {Lens | null} lens where it is looked at; null shows all of it
 * @property {Timeline} timeline what was made of it
 */

/**
 * What is being drawn: prompts to ask with, or a mask, perhaps of an object that is there already.
 * @typedef {{prompts: Prompts} | {painted: Mask, editing: number | null}} Draft
 */
/** @typedef {'fill' | 'outline' | 'cutout' | 'original'} Display */
/** @typedef {{name: string, colour: string}} LabelName */

/**
 * @typedef {object} State
 * @property {Service} service
 * @property {'here' | 'away'} server
 * @property {Models} models
 * @property {Decoder} decoder
 * @property {readonly GalleryItem[]} gallery
 * @property {Size} stage drawing area in CSS pixels
 * @property {Picture | null} picture the one in hand
 * @property {readonly Picture[]} shelf the others, each with its work
 * @property {string} tool by its id
 * @property {Label} label what a plain click adds
 * @property {number | null} level the candidate that answers single clicks; null for the best
 * @property {boolean} refines whether a click feeds the mask before it back
 * @property {boolean} tidies whether specks are left out of what the model made
 * @property {number} brush diameter in CSS pixels
 * @property {Point | null} hover position under the pointer, in the picture
 * @property {'mouse' | 'keys'} pointer what moved the hover last
 * @property {Draft | null} draft
 * @property {Mask | null} mask the one shown
 * @property {Mask | null} preview what the next click would make of it
 * @property {Mask | null} cut the last that a closer view cut: where it lies, all of the picture answers the pointer
 * @property {Display} display
 * @property {boolean} before whether the picture is shown as it was, for as long as that is held
 * @property {number} opacity of the objects' colours, from 0 to 1
 * @property {readonly LabelName[]} labels in the order of their keys
 * @property {string} nextLabel the label of the object to come
 * @property {readonly number[]} latencies of the last hovers, in milliseconds
 * @property {Found | null} found by everything mode, in one of the pictures
 * @property {Preset} preset how much everything mode looks for
 * @property {Grain} grain what a click on what was found takes
 * @property {string | null} notice a passing message
 * @property {readonly string[]} problems with files that came in, each named
 */

/** @type {State} */
export const INITIAL_STATE = {
  service: { status: 'loading' },
  server: 'here',
  models: { offers: [], chosen: null, coming: null, shares: {}, asked: null },
  decoder: { status: 'loading', tier: null, progress: null, refused: [] },
  gallery: [],
  stage: { width: 0, height: 0 },
  picture: null,
  shelf: [],
  tool: 'select',
  label: 1,
  level: null,
  refines: true,
  tidies: true,
  brush: 32,
  hover: null,
  pointer: 'mouse',
  draft: null,
  mask: null,
  preview: null,
  cut: null,
  display: 'fill',
  before: false,
  opacity: 0.5,
  labels: [],
  nextLabel: '',
  latencies: [],
  found: null,
  preset: 'balanced',
  grain: 'whole',
  notice: null,
  problems: [],
};
