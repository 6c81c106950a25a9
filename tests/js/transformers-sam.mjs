// @ts-check
/**
 * Asks transformers.js's own SamModel one question, as its README does, and prints its answer as JSON.
 *
 * Arguments: the folder of a model, its dtype, and a file with the question: `{ width, height, rgb, points, labels }`,
 * where `rgb` is base64, `points` is prompts of [x, y] in the picture's pixels, and `labels` is prompts of labels.
 */

import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { AutoProcessor, RawImage, SamModel, env } from '@huggingface/transformers';

const [folder, dtype, questionFile] = process.argv.slice(2);
const { width, height, rgb, points, labels } = JSON.parse(await readFile(questionFile, 'utf8'));

env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder) + path.sep;
const name = path.basename(folder);
const model = /** @type {any} */ (await SamModel.from_pretrained(name, { dtype: /** @type {any} */ (dtype) }));
const processor = /** @type {any} */ (await AutoProcessor.from_pretrained(name));

const picture = new RawImage(new Uint8ClampedArray(Buffer.from(rgb, 'base64')), width, height, 3);
const inputs = await processor(picture, { input_points: [points], input_labels: [labels] });
const embeddings = await model.get_image_embeddings(inputs);
const answer = await model({ ...inputs, ...embeddings });
const masks = await processor.post_process_masks(answer.pred_masks, inputs.original_sizes, inputs.reshaped_input_sizes);

process.stdout.write(
  JSON.stringify({
    pixels: Array.from(inputs.pixel_values.data),
    scores: answer.iou_scores.tolist(),
    logits: answer.pred_masks.tolist(),
    masks: masks[0].tolist(),
  }),
);
