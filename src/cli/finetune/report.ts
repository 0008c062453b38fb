import type { RGBImage } from '../../data/index.js';
import type { LabelledImages } from '../classes.js';
import type { FitResult } from '../training-loop.js';
import type { Evaluation } from '../training.js';
import type { TrainingData } from './data.js';
import { reportPage, type Mistake } from './report-page.js';
import type { RunConfig, RunFolder } from './run-folder.js';
import { scoresOf } from './scores.js';
import type { TrainedParts } from './trained-parts.js';

export interface ReportInput {
  readonly config: RunConfig;
  readonly data: TrainingData;
  readonly result: FitResult;
  /** The best weights on the validation data. */
  readonly evaluation: Evaluation | null;
  readonly skipped: readonly string[];
  readonly parts: TrainedParts;
  readonly seconds: number;
  readonly resumed: boolean;
}

/** Pictures in the report. */
const mostMistakes = 24;

/** Longer side of a picture in the report, in pixels. */
const pictureSide = 176;

/** Writes a run's report.html: one file, which shows what the run came to without a network. */
export async function writeReport(run: RunFolder, input: ReportInput): Promise<void> {
  const { config, data, result, evaluation, skipped, parts, seconds, resumed } = input;
  const { train, validation } = data;
  const trainCounts = train.classes.map((_, label) => train.labels.filter((each) => each === label).length);
  const checked =
    validation === null || evaluation === null
      ? null
      : {
          evaluation,
          scores: await scoresOf(validation.classes, validation.labels, evaluation.predictions),
          mistakes: await worstMistakes(validation, evaluation),
        };
  await run.write(
    'report',
    reportPage({ config, result, checked, skipped, trainCounts, parts, seconds, resumed }),
  );
}

/** The mistakes that cost the most, dearest first. */
async function worstMistakes(images: LabelledImages, evaluation: Evaluation): Promise<Mistake[]> {
  const { predictions, losses, confidences } = evaluation;
  const wrong = [...predictions.keys()]
    .filter((i) => predictions[i] !== -1 && predictions[i] !== images.labels[i])
    .sort((a, b) => (losses[b] ?? 0) - (losses[a] ?? 0) || a - b)
    .slice(0, mostMistakes);
  return Promise.all(
    wrong.map(async (index) => ({
      name: images.describe(index),
      actual: images.classes[images.labels[index] ?? -1] ?? '',
      predicted: images.classes[predictions[index] ?? -1] ?? '',
      confidence: confidences[index] ?? 0,
      picture: await images.picture(index).then(thumbnail, () => null),
    })),
  );
}

/** A small picture as a data URI, or null where the package that encodes pictures is not installed. */
async function thumbnail({ data, width, height }: RGBImage): Promise<string | null> {
  const sharp = await import('sharp').then(
    (module) => module.default,
    () => null,
  );
  if (sharp === null) return null;
  const small = Math.max(width, height) < pictureSide / 2;
  const image = sharp(data, { raw: { width, height, channels: 3 } }).resize(pictureSide, pictureSide, {
    fit: 'inside',
    // The pixels of a tiny picture are what there is to see.
    kernel: small ? 'nearest' : 'lanczos3',
  });
  const encoded = small ? await image.png().toBuffer() : await image.jpeg({ quality: 78 }).toBuffer();
  return `data:image/${small ? 'png' : 'jpeg'};base64,${encoded.toString('base64')}`;
}
