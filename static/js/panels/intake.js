// @ts-check
/** The ways pictures come in: file dialog, camera, drop, paste. */

/** @typedef {(files: readonly File[]) => void} OnPictures */

/**
 * @param {HTMLButtonElement} button
 * @param {HTMLInputElement} input
 * @param {OnPictures} onPictures
 */
export function acceptFiles(button, input, onPictures) {
  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])];
    input.value = '';
    onPictures(files);
  });
}

/**
 * Anywhere on the page.
 * @param {Document} target
 * @param {OnPictures} onPictures
 */
export function acceptDrops(target, onPictures) {
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
    onPictures([...(event.dataTransfer?.files ?? [])]);
  });

  function settle() {
    depth = 0;
    classList.remove('dropping');
  }
}

/**
 * @param {Document} target
 * @param {OnPictures} onPictures
 */
export function acceptPastes(target, onPictures) {
  target.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith('image/'));
    if (files.length === 0) return;
    event.preventDefault();
    onPictures(files);
  });
}

/** @param {DragEvent} event */
function carriesFile({ dataTransfer }) {
  return dataTransfer?.types.includes('Files') ?? false;
}
