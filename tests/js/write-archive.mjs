// @ts-check
/** Writes the page's zip of the test vectors' session to a file, for Python to read: node write-archive.mjs FILE */
import { readFile, writeFile } from 'node:fs/promises';
import { writeAll } from '../../static/js/export/formats.js';

const { session } = JSON.parse(await readFile(new URL('../vectors/formats.json', import.meta.url), 'utf8'));
const [zip] = Object.values(await writeAll([session]));
await writeFile(process.argv[2], zip);
