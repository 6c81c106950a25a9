// @ts-check
/**
 * Builds what browsers load of the page: its modules, workers and style sheet, minified into a folder of static/vendor
 * that carries the hash of its content in the name, with its own index.html and packed forms of everything.
 *
 * The sources stay the page: page.json tells the server which of them, in which state, the build was made from, and a
 * build of anything else is not served (demo/routes/page.py). All files of the build lie side by side, so that a worker's
 * address beside its module is right, and two folders deep, as js/kernel is, so that the kernel's is.
 */

import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';
import { writePacked } from './pack.mjs';

const MAIN = 'js/main.js';
const STYLES = 'styles.css';
const DOCUMENT = 'index.html';
/** Browsers that have what the page cannot do without: module workers, OffscreenCanvas, popovers. */
/** @type {import('terser').ECMA} */
const ECMA = 2020;
const TARGET = ['chrome114', 'firefox125', 'safari17'];

const here = path.dirname(fileURLToPath(import.meta.url));
const vendor = path.join(here, 'vendor');

const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: [MAIN, STYLES, ...(await workers())],
  outdir: 'vendor/page',
  entryNames: '[name]',
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  minify: true,
  target: TARGET,
  legalComments: 'none',
  plugins: [{ name: 'shaders', setup: ({ onLoad }) => onLoad({ filter: /glsl\.js$/ }, readShader) }],
  metafile: true,
  write: false,
});

const files = await Promise.all(outputFiles.map(async ({ path: file, contents }) => {
  const name = path.basename(file);
  return { name, contents: name.endsWith('.js') ? await squeezed(contents) : contents };
}));
const folder = `page-${hashOf(files.map(({ name, contents }) => `${name} ${hashOf(contents)}`).sort().join('\n')).slice(0, 16)}`;
const target = path.join(vendor, folder);
const names = [...Object.keys(metafile.inputs), DOCUMENT].sort();
const sources = Object.fromEntries(await Promise.all(names.map(async (name) => [name, hashOf(await readSource(name))])));

await mkdir(target, { recursive: true });
await Promise.all(files.map(({ name, contents }) => writePacked(path.join(target, name), contents)));
await writePacked(path.join(target, DOCUMENT), Buffer.from(builtDocument(await readSource(DOCUMENT))));
await writeFile(path.join(vendor, 'page.json'), JSON.stringify({ folder, sources }, null, 1));
for (const name of await readdir(vendor)) {
  if (name.startsWith('page-') && name !== folder) await rm(path.join(vendor, name), { recursive: true });
}

/** Minifiers leave the text of a shader alone. @param {{path: string}} file */
async function readShader({ path: file }) {
  const code = await readFile(file, 'utf8');
  return { contents: code.replace(/\/\*[^]*?\*\//g, '').replace(/^\s+/gm, '') };
}

/** A twentieth less than esbuild's own minifier leaves. @param {Uint8Array} contents */
async function squeezed(contents) {
  const compress = { passes: 3, ecma: ECMA, unsafe_arrows: true, keep_fargs: false };
  const { code } = await minify(Buffer.from(contents).toString(), { module: true, ecma: ECMA, compress });
  return Buffer.from(code ?? '');
}

/** Every worker is loaded by itself. */
async function workers() {
  const names = await readdir(path.join(here, 'js'), { recursive: true });
  return names.filter((name) => name.endsWith('.worker.js')).map((name) => path.posix.join('js', ...name.split(path.sep)));
}

/**
 * The document with the build's addresses; what main.js imports comes with it, not after it.
 * @param {string} html
 */
function builtDocument(html) {
  const address = `static/vendor/${folder}`;
  const preloads = staticImports().map((name) => `\n  <link rel="modulepreload" href="${address}/${name}">`).join('');
  const main = `<link rel="modulepreload" href="static/${MAIN}">`;
  if (!html.includes(main)) throw new Error(`index.html has no ${main}`);
  return html
    .replace(main, main + preloads)
    .replaceAll(`static/${MAIN}`, `${address}/${path.basename(MAIN)}`)
    .replaceAll(`static/${STYLES}`, `${address}/${STYLES}`);
}

/** The chunks that main.js cannot start without. */
function staticImports() {
  const { outputs } = metafile;
  const [main] = Object.keys(outputs).filter((name) => outputs[name].entryPoint === MAIN);
  const found = new Set([main]);
  for (const name of found) {
    for (const { path: imported, kind } of outputs[name].imports) if (kind === 'import-statement') found.add(imported);
  }
  return [...found].slice(1).map((name) => path.basename(name));
}

/** @param {string} name */
function readSource(name) {
  return readFile(path.join(here, name), 'utf8');
}

/** @param {string | Uint8Array} content */
function hashOf(content) {
  return createHash('sha256').update(content).digest('hex');
}
