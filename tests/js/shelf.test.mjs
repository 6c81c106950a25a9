// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createShelf } from '../../static/js/storage/shelf.js';

/** @param {Partial<Storage>} storage */
const shelfOf = (storage) => createShelf(() => /** @type {Storage} */ (storage));

test('what the browser keeps comes from the browser', () => {
  const kept = new Map([['label', 'cat']]);
  const shelf = shelfOf({ getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => void kept.set(name, value) });
  assert.equal(shelf.get('label'), 'cat');
  shelf.set('label', 'dog');
  assert.equal(kept.get('label'), 'dog');
  assert.equal(shelf.get('none'), null);
});

test('where the browser refuses, what was set lasts as long as the page', () => {
  const shelf = createShelf(() => {
    throw new DOMException('Access is denied for this document.', 'SecurityError');
  });
  assert.equal(shelf.get('label'), null);
  shelf.set('label', 'cat');
  assert.equal(shelf.get('label'), 'cat');
});
