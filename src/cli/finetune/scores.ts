import { ConfusionMatrix, F1Score, MetricCollection, Precision, Recall } from '../../metrics/index.js';
import { tensor } from '../../ops/index.js';

/** How often each class was taken for each other, and what follows from it. */
export interface Scores {
  /** `matrix[actual][predicted]`: numbers of images. */
  readonly matrix: readonly (readonly number[])[];
  readonly perClass: readonly ClassScore[];
}

export interface ClassScore {
  readonly name: string;
  /** Images of this class. */
  readonly images: number;
  /** Of the images taken for this class, the share that is; null where none was. */
  readonly precision: number | null;
  /** Of the images of this class, the share that was taken for it; null where there is none. */
  readonly recall: number | null;
  /** Harmonic mean of the two. */
  readonly f1: number | null;
}

/** @param predictions -1 for images that were left out */
export async function scoresOf(
  classes: readonly string[],
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): Promise<Scores> {
  const kept = Array.from({ length: labels.length }, (_, i) => i).filter((i) => (predictions[i] ?? -1) >= 0);
  // One class alone is not told apart from anything.
  const options = { numClasses: Math.max(classes.length, 2), average: 'none' } as const;
  const measures = new MetricCollection({
    matrix: new ConfusionMatrix({ numClasses: options.numClasses }),
    precision: new Precision(options),
    recall: new Recall(options),
    f1: new F1Score(options),
  });
  const classesOf = (all: ArrayLike<number>) => Int32Array.from(kept, (i) => all[i] ?? -1);
  const [predicted, actual] = [tensor(classesOf(predictions)), tensor(classesOf(labels))];
  measures.update(predicted, actual);
  const { matrix, precision, recall, f1 } = await measures.compute();
  measures.reset();
  for (const one of [predicted, actual]) one.dispose();
  const perClass = classes.map((name, i) => {
    const images = (matrix[i] ?? []).reduce((sum, count) => sum + count, 0);
    const taken = matrix.reduce((sum, row) => sum + (row[i] ?? 0), 0);
    const unless0 = (whole: number, value: number | undefined) => (whole === 0 ? null : (value ?? null));
    return {
      name,
      images,
      precision: unless0(taken, precision[i]),
      recall: unless0(images, recall[i]),
      f1: unless0(images, f1[i]),
    };
  });
  return { matrix, perClass };
}
