// @ts-check
/**
 * A field to type a label in, which offers the labels that are known.
 *
 * It is an editable element and no `input`: browsers ask their maker's server how to fill in inputs, and this page
 * talks to nobody but its own server.
 */

import { create } from '../dom.js';

let fields = 0;

/**
 * @param {object} options
 * @param {string} options.says the field's name
 * @param {string} [options.placeholder]
 * @param {() => readonly string[]} options.known
 * @param {(label: string) => void} options.onCommit
 * @param {() => void} [options.onFocus]
 */
export function createLabelField({ says, placeholder = '', known, onCommit, onFocus = () => {} }) {
  const id = `labels-${(fields += 1)}`;
  const input = create('span', { className: 'label-input', contentEditable: 'plaintext-only', spellcheck: false, tabIndex: 0 });
  const list = create('ul', { id, className: 'label-offers', role: 'listbox', hidden: true, ariaLabel: 'Known labels' });
  const element = create('span', { className: 'label-field' }, [input, list]);
  const attributes = { 'role': 'combobox', 'aria-autocomplete': 'list', 'aria-expanded': 'false', 'aria-controls': id };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  input.ariaLabel = says;
  input.dataset.placeholder = placeholder;
  /** @type {number} the offer that Enter takes; -1 for what was typed */
  let marked = -1;
  let given = '';

  const text = () => (input.textContent ?? '').trim();

  /** @param {number} index */
  function mark(index) {
    const offers = [...list.children];
    marked = offers.length === 0 ? -1 : Math.min(Math.max(index, -1), offers.length - 1);
    offers.forEach((offer, at) => offer.setAttribute('aria-selected', String(at === marked)));
    if (marked >= 0) input.setAttribute('aria-activedescendant', offers[marked].id);
    else input.removeAttribute('aria-activedescendant');
  }

  function offer() {
    const typed = text().toLowerCase();
    const fits = known().filter((label) => label.toLowerCase().includes(typed) && label !== text()).slice(0, 6);
    list.replaceChildren(...fits.map((label, at) => {
      const item = create('li', { id: `${id}-${at}`, role: 'option', textContent: label });
      item.addEventListener('pointerdown', (event) => {
        event.preventDefault();
        commit(label);
      });
      return item;
    }));
    list.hidden = fits.length === 0;
    input.ariaExpanded = String(fits.length > 0);
    mark(-1);
  }

  /** @param {string} label */
  function commit(label) {
    input.textContent = label;
    input.blur();
  }

  input.addEventListener('focus', () => {
    onFocus();
    offer();
    getSelection()?.selectAllChildren(input);
  });
  input.addEventListener('input', offer);
  input.addEventListener('blur', () => {
    list.hidden = true;
    input.ariaExpanded = 'false';
    if (text() !== given) onCommit((given = text()));
  });
  input.addEventListener('keydown', (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined) mark(marked + by);
    else if (event.key === 'Enter') commit(marked >= 0 ? (list.children[marked].textContent ?? '') : text());
    else if (event.key === 'Escape') commit(given);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    /** @param {string} label unless it is being typed over */
    set(label) {
      given = label;
      if (document.activeElement !== input && input.textContent !== label) input.textContent = label;
    },
    /** @param {string} name */
    setName(name) {
      input.ariaLabel = name;
    },
    /** @param {boolean} disabled */
    setDisabled(disabled) {
      input.contentEditable = disabled ? 'false' : 'plaintext-only';
      input.ariaDisabled = String(disabled);
    },
  };
}
