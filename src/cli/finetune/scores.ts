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
export function scoresOf(
  classes: readonly string[],
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): Scores {
  const matrix = classes.map(() => classes.map(() => 0));
  for (let i = 0; i < labels.length; i++) {
    const row = matrix[labels[i] ?? -1];
    const predicted = predictions[i] ?? -1;
    if (row?.[predicted] !== undefined) row[predicted]++;
  }
  const perClass = classes.map((name, i) => {
    const right = matrix[i]?.[i] ?? 0;
    const images = (matrix[i] ?? []).reduce((sum, count) => sum + count, 0);
    const taken = matrix.reduce((sum, row) => sum + (row[i] ?? 0), 0);
    const precision = taken === 0 ? null : right / taken;
    const recall = images === 0 ? null : right / images;
    const both = (precision ?? 0) + (recall ?? 0);
    return {
      name,
      images,
      precision,
      recall,
      f1: images === 0 ? null : both === 0 ? 0 : (2 * (precision ?? 0) * (recall ?? 0)) / both,
    };
  });
  return { matrix, perClass };
}
