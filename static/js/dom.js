// @ts-check
/** Small helpers around the document. */

/**
 * The element with this id, of the class that the caller expects.
 * @template {Element} T
 * @param {string} id
 * @param {new (...args: any[]) => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} with the id ${id}.`);
  return element;
}

/**
 * The element inside another that a selector finds.
 * @param {Element} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function find(parent, selector) {
  const element = parent.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`The page has no ${selector} where it is expected.`);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {readonly (Node | string)[]} [children]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function create(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number>} attributes
 * @param {readonly Node[]} [children]
 * @returns {SVGElementTagNameMap[K]}
 */
export function createSvg(tag, attributes, children = []) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Write text only when it changes, so that live regions stay quiet.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Fill a progress bar.
 * @param {Element} track
 * @param {number | null} share from 0 to 1, null while nobody knows
 */
export function showShare(track, share) {
  track.classList.toggle('unknown', share === null);
  find(track, '.fill').style.transform = share === null ? '' : `scaleX(${share})`;
  if (share === null) track.removeAttribute('aria-valuenow');
  else track.setAttribute('aria-valuenow', String(Math.round(100 * share)));
}

/** @param {string} path data in a square of 20 */
export function icon(path) {
  return createSvg('svg', { viewBox: '0 0 20 20', 'aria-hidden': 'true' }, [createSvg('path', { d: path })]);
}
