// @ts-check
/** Errors in the user's words. */

/** @import { Decoder, Problem } from '../state/state.js' */
import { ApiError } from './api.js';
import { OtherModelError, UnreadablePictureError } from './picture-loader.js';
import { ProtocolError } from './protocol.js';

/**
 * @param {unknown} error
 * @returns {Problem}
 */
export function problemOf(error) {
  if (error instanceof ApiError) return { title: error.title, detail: error.detail };
  if (error instanceof UnreadablePictureError) return { title: 'This picture cannot be shown', detail: error.message };
  if (error instanceof OtherModelError) return { title: 'The server runs another model', detail: error.message };
  if (error instanceof ProtocolError) return { title: 'The embedding does not fit', detail: error.message };
  return { title: 'This did not work', detail: error instanceof Error ? error.message : String(error) };
}

/** @param {Decoder} decoder */
export function tierOf(decoder) {
  return decoder.status === 'failed' ? null : decoder.tier;
}

/** @param {Decoder} decoder */
export function usesServer(decoder) {
  return tierOf(decoder) === 'server';
}
