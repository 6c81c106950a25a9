// @ts-check
/** Rows of a list in another order: dragged by a grip, with a mouse, a pen or a finger. Keys have buttons for it. */

/**
 * @param {HTMLElement} list
 * @param {(row: Element, places: number) => void} onMove so many places downwards, or upwards where negative
 */
export function orderByDragging(list, onMove) {
  list.addEventListener('pointerdown', (event) => {
    const grip = event.target instanceof Element ? event.target.closest('.grip') : null;
    const row = grip?.closest('li');
    if (!(grip instanceof HTMLElement) || !row) return;
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    follow(grip, row);
  });

  /** @param {HTMLElement} grip @param {HTMLElement} row */
  function follow(grip, row) {
    const rows = [...list.children];
    const from = rows.indexOf(row);
    let to = from;
    const dragging = new AbortController();
    const { signal } = dragging;
    row.classList.add('dragged');

    grip.addEventListener('pointermove', ({ clientY }) => {
      to = placeAt(rows, from, clientY);
      rows.forEach((each, at) => {
        each.classList.toggle('opens-above', at === to && to < from);
        each.classList.toggle('opens-below', at === to && to > from);
      });
    }, { signal });
    for (const ends of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      grip.addEventListener(ends, () => {
        dragging.abort();
        for (const each of rows) each.classList.remove('dragged', 'opens-above', 'opens-below');
        if (ends === 'pointerup' && to !== from) onMove(row, to - from);
      }, { signal });
    }
  }
}

/**
 * The place that the row from `from` would take: past the middle of every row between.
 * @param {readonly Element[]} rows
 * @param {number} from
 * @param {number} y
 */
function placeAt(rows, from, y) {
  const middles = rows.map((row) => {
    const { top, height } = row.getBoundingClientRect();
    return top + height / 2;
  });
  const above = middles.filter((middle, at) => at < from && middle < y).length;
  const below = middles.filter((middle, at) => at > from && middle < y).length;
  return above + below;
}
