// @ts-check
/** What can be taken home, in a person's words, and which options matter to it. A new format needs a line here. */

/** @typedef {'cut' | 'outline' | 'classes'} Matter an option that a format looks at */
/** @typedef {{id: string, name: string, says: string, matters: readonly Matter[]}} Choice */
/** @typedef {{trimmed: boolean, feather: number, soft: number, tolerance: number | null}} Options in pixels */

/** Objects of a picture that the page works with. */
export const MOST_OBJECTS = 500;

/** @type {readonly {name: string, choices: readonly Choice[]}[]} */
export const GROUPS = [
  {
    name: 'Pictures',
    choices: [
      choice('cutouts', 'Cut-outs', 'PNG each, transparent around', 'cut'),
      choice('masks', 'Masks', 'PNG each, black and white'),
      choice('indexed', 'Indexed mask', 'One PNG, a number for each object, in their colours'),
    ],
  },
  {
    name: 'Annotations',
    choices: [
      choice('coco', 'COCO', 'JSON, exact run lengths', 'classes'),
      choice('coco-polygons', 'COCO polygons', 'JSON, polygons with holes', 'outline', 'classes'),
      choice('yolo', 'YOLO', 'Segments, with data.yaml', 'outline', 'classes'),
      choice('labelme', 'LabelMe', 'JSON beside the picture', 'outline'),
      choice('cvat', 'CVAT', 'XML, exact', 'classes'),
      choice('voc', 'Pascal VOC', 'boxes and segments', 'classes'),
      choice('geojson', 'GeoJSON', 'polygons in pixels', 'outline'),
    ],
  },
  {
    name: 'Drawing and code',
    choices: [
      choice('svg', 'SVG', 'smooth paths', 'outline'),
      choice('numpy', 'NumPy', '.npz of masks'),
    ],
  },
  {
    name: 'To go on later',
    choices: [choice('session', 'Session', 'A zip with the pictures and everything made of them; drop it on the page to go on')],
  },
];

/** @type {readonly Choice[]} */
export const CHOICES = GROUPS.flatMap(({ choices }) => choices);

/** @param {string} id @param {string} name @param {string} says @param {Matter[]} matters @returns {Choice} */
function choice(id, name, says, ...matters) {
  return { id, name, says, matters };
}
