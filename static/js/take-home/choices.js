// @ts-check
/** What can be taken home, in a person's words, and which options matter to it. A new format needs a line here. */

/** @typedef {'cut' | 'outline' | 'classes'} Matter an option that a format looks at */
/** @typedef {{id: string, name: string, says: string, matters: readonly Matter[]}} Choice */
/** @typedef {{trimmed: boolean, feather: number, soft: number, tolerance: number | null}} Options in pixels */

/** @type {readonly {name: string, choices: readonly Choice[]}[]} */
export const GROUPS = [
  {
    name: 'Pictures',
    choices: [
      choice('cutouts', 'Cut-outs', 'PNG, transparent around', 'cut'),
      choice('masks', 'Masks', 'PNG each, black and white'),
      choice('indexed', 'Mask with palette', 'PNG, a number each'),
    ],
  },
  {
    name: 'Annotations',
    choices: [
      choice('coco', 'COCO', 'exact run lengths', 'classes'),
      choice('coco-polygons', 'COCO polygons', 'with holes', 'outline', 'classes'),
      choice('yolo', 'YOLO', 'segments and data.yaml', 'outline', 'classes'),
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
    choices: [choice('session', 'Session', 'zip with the pictures; drop it here again')],
  },
];

/** @type {readonly Choice[]} */
export const CHOICES = GROUPS.flatMap(({ choices }) => choices);

/** @param {string} id @param {string} name @param {string} says @param {Matter[]} matters @returns {Choice} */
function choice(id, name, says, ...matters) {
  return { id, name, says, matters };
}
