import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { noGrad, tensor } from '../../index.js';
import { stackSamples, type HostArray } from '../../data/index.js';
import { imageExtensions, readImage } from '../../data/node/index.js';
import { isStray } from '../../data/node/image-folder.js';
import { shortList } from '../classes.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { CliError } from '../errors.js';
import { imageTransform } from '../images.js';
import * as read from '../option-readers.js';
import { value, type Options } from '../option-rows.js';
import { grouped, table } from '../output.js';
import { oneFirst, sameOnAll } from '../ranks.js';
import { batchSize, operand, trainedModel, weightsOperand } from '../shared-options.js';
import { classNames, makeTrained, openTrained } from '../trained.js';
import { isFolder } from '../weights-file.js';

const predictOptions = {
  ...trainedModel,
  data: value('<path>', 'image files, or folders of them; may be given again', read.collect),
  topK: value('<k>', 'classes to name for each picture', read.positiveInteger, 5),
  batchSize: { ...batchSize, fallback: 16 },
};

interface Guess {
  readonly class: string;
  readonly index: number;
  readonly probability: number;
}

interface Prediction {
  readonly image: string;
  readonly predictions: readonly Guess[];
}

interface Failure {
  readonly image: string;
  readonly error: string;
}

interface Input {
  readonly image: string;
  readonly input: HostArray<Float32Array>;
}

/** What images from one on, by number, were taken for. */
interface Batch {
  readonly from: number;
  readonly done: readonly Prediction[];
  readonly failed: readonly Failure[];
}

/**
 * `kindling predict`: what a model takes pictures for. A picture that cannot be read is named, and the others
 * are done.
 *
 * @throws CliError at the end when a picture could not be read
 */
async function predict(
  context: Context,
  { data: paths = [], batchSize: most = 16, ...options }: Options<typeof predictOptions>,
): Promise<void> {
  const { output } = context;
  const images = paths.flatMap((path) => (isFolder(path) ? imagesIn(path, context) : [path]));
  const { ranks } = context;
  await sameOnAll(context, 'images', images);
  const trained = await oneFirst(context, () => openTrained(context, options));
  await context.openDevice();
  const { model, outputs } = await makeTrained(trained, options.numClasses);
  const names = await classNames(trained, outputs);
  const transform = imageTransform(trained.input);

  const own: Batch[] = [];
  // Ranks take turns with whole batches, which so are those of one process.
  const [first, step] = ranks === null ? [0, most] : [ranks.rank * most, ranks.worldSize * most];
  const bar = output.progress(
    'predicting',
    ranks === null ? images.length : Math.ceil(images.length / ranks.worldSize),
  );
  for (let from = first; from < images.length; from += step) {
    checkInterrupted(context);
    const done: Prediction[] = [];
    const failed: Failure[] = [];
    own.push({ from, done, failed });
    const read = await Promise.all(
      images.slice(from, from + most).map(async (image): Promise<Input | Failure> => {
        try {
          return { image, input: transform(await readImage(image)) };
        } catch (error) {
          const message = error instanceof Error ? error.message : String(error);
          if (message.includes('npm install sharp')) throw error;
          return { image, error: message };
        }
      }),
    );
    const good = read.filter((entry) => 'input' in entry);
    failed.push(...read.filter((entry) => 'error' in entry));
    if (good.length > 0) {
      const batch = stackSamples(good.map(({ input }) => input)) as HostArray<Float32Array>;
      const inputs = tensor(batch.data, { shape: [...batch.shape] });
      const probabilities = noGrad(() => model(inputs).softmax(1));
      const values = await probabilities.data();
      for (const each of [inputs, probabilities]) each.dispose();
      good.forEach(({ image }, i) =>
        done.push({
          image,
          predictions: likeliest(values.subarray(i * outputs, (i + 1) * outputs), names, options.topK),
        }),
      );
    }
    bar.advance(read.length);
  }
  bar.stop();
  const batches = ranks === null ? own : (await ranks.allGatherObject(own)).flat();
  batches.sort((a, b) => a.from - b.from);
  const done = batches.flatMap((batch) => batch.done);
  const failed = batches.flatMap((batch) => batch.failed);

  for (const { image, predictions } of done) {
    output.line(image);
    const rows = predictions.map((guess) => [`${(100 * guess.probability).toFixed(2)} %`, guess.class]);
    for (const line of table(rows, [0])) output.line(`  ${line}`);
  }
  output.document({ model: trained.modelName, weights: options.weights, images: done, failed });
  if (failed.length === 0) return;
  const count = `${grouped(failed.length)} of ${grouped(images.length)} images could not be read`;
  throw new CliError([...failed.map(({ error }) => error), ...(images.length > 1 ? [count] : [])].join('\n'));
}

function likeliest(probabilities: ArrayLike<number>, names: readonly string[], count: number): Guess[] {
  return Array.from(probabilities, (probability, index) => ({
    class: names[index] ?? `class ${index}`,
    index,
    probability,
  }))
    .sort((a, b) => b.probability - a.probability || a.index - b.index)
    .slice(0, count);
}

/** The images in a folder and below it, sorted. */
function imagesIn(folder: string, { output }: Context): string[] {
  const stray = new Set<string>();
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const parts = relative(folder, path).split(/[\\/]/);
      const at = parts.findIndex(isStray);
      if (at >= 0) stray.add(parts.slice(0, at + 1).join('/'));
      return at < 0;
    })
    .filter((path) => imageExtensions.some((extension) => path.toLowerCase().endsWith(extension)))
    .sort();
  if (stray.size > 0) output.warn(`${folder}: left out, as no image: ${shortList([...stray].sort())}`);
  if (found.length === 0) throw new CliError(`${folder}: holds no images (${imageExtensions.join(' ')})`);
  return found;
}

export const predictCommand = defineCommand({
  name: 'predict',
  help: 'say what is in pictures',
  operands: [
    weightsOperand('<weights>'),
    operand('<images...>', 'image files, or folders of them, as --data', 'data'),
  ],
  options: predictOptions,
  examples: [
    ['kindling predict run cat.jpg dog.jpg', 'a run of kindling finetune'],
    ['kindling predict resnet50 photos --top-k 3', 'published weights, all images in a folder'],
    ['kindling predict --weights model.safetensors --model resnet18 cat.jpg'],
  ],
  run: ({ context, options }) => predict(context, options),
});
