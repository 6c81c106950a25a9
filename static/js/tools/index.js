// @ts-check
/** The tools in the order of the toolbar; a new one is a file beside these and a line here. */

import { brush, eraser } from './brush.js';
import { hand } from './hand.js';
import { lasso } from './lasso.js';
import { select } from './select.js';

/** @type {readonly import('./tool.js').Tool[]} */
export const TOOLS = [select, brush, eraser, lasso, hand];
