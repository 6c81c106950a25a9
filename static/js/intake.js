// @ts-check
/** The ways a picture comes in: file dialog, drop, paste. */

/** @typedef {(blob: Blob, name: string) => void} OnPicture */

/**
 * @param {HTMLButtonElement} button
 * @param {HTMLInputElement} input
 * @param {OnPicture} onPicture
 */
export function acceptFiles(button, input, onPicture) {
  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    input.value = '';
    if (file) onPicture(file, file.name);
  });
}

/**
 * Anywhere on the page.
 * @param {Document} target
 * @param {OnPicture} onPicture
 */
export function acceptDrops(target, onPicture) {
  const { classList } = target.body;
  let depth = 0;
  target.addEventListener('dragenter', (event) => {
    if (!carriesFile(event)) return;
    depth += 1;
    classList.add('dropping');
  });
  target.addEventListener('dragleave', (event) => {
    if (carriesFile(event) && (depth -= 1) <= 0) settle();
  });
  target.addEventListener('dragover', (event) => carriesFile(event) && event.preventDefault());
  target.addEventListener('drop', (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    settle();
    const file = event.dataTransfer?.files[0];
    if (file) onPicture(file, file.name);
  });

  function settle() {
    depth = 0;
    classList.remove('dropping');
  }
}

/**
 * @param {Document} target
 * @param {OnPicture} onPicture
 */
export function acceptPastes(target, onPicture) {
  target.addEventListener('paste', (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
    if (!file) return;
    event.preventDefault();
    onPicture(file, file.name || 'pasted.png');
  });
}

/** @param {DragEvent} event */
function carriesFile({ dataTransfer }) {
  return dataTransfer?.types.includes('Files') ?? false;
}
