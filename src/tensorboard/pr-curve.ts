/** What a curve of precision and recall is made of. */
export interface PrSamples {
  /** Per sample, whether it is of the class. */
  readonly labels: ArrayLike<number>;
  /** Per sample, its probability. */
  readonly predictions: ArrayLike<number>;
  /** Per sample; null: all 1. */
  readonly weights: ArrayLike<number> | null;
}

/** Counts below this divide as it does: there is no 0 / 0. */
const leastCount = 1e-7;

/**
 * @internal The six rows of TensorBoard's curve, [6 * thresholds]: true and false positives, true and false
 * negatives, precision, recall, at thresholds i / (thresholds - 1). A sample is positive from the last
 * threshold on that is not above its probability.
 * @throws Error for samples that have no place in it
 */
export function prCurveOf({ labels, predictions, weights }: PrSamples, thresholds: number): number[] {
  const [positive, negative] = [new Float64Array(thresholds), new Float64Array(thresholds)];
  for (let i = 0; i < labels.length; i++) {
    const [label, probability, weight] = [Number(labels[i]), predictions[i]!, weights?.[i] ?? 1];
    if (label !== 0 && label !== 1) throw new Error(`label ${i} must be 0 or 1, got ${label}`);
    if (!(probability >= 0 && probability <= 1))
      throw new Error(`prediction ${i} must be a probability from 0 to 1, got ${probability}`);
    if (!(weight >= 0 && weight < Infinity))
      throw new Error(`weight ${i} must be a finite number of at least 0, got ${weight}`);
    // As PyTorch's, in the precision of the predictions.
    const product = probability * (thresholds - 1);
    const at = Math.floor(predictions instanceof Float32Array ? Math.fround(product) : product);
    (label === 1 ? positive : negative)[at]! += weight;
  }
  for (const counts of [positive, negative])
    for (let i = thresholds - 2; i >= 0; i--) counts[i]! += counts[i + 1]!;
  const rows = Array.from({ length: thresholds }, (_, i) => {
    const [tp, fp] = [positive[i]!, negative[i]!];
    const [tn, fn] = [negative[0]! - fp, positive[0]! - tp];
    const share = (whole: number): number => tp / Math.max(leastCount, whole);
    return [tp, fp, tn, fn, share(tp + fp), share(tp + fn)] as const;
  });
  return [0, 1, 2, 3, 4, 5].flatMap((row) => rows.map((values) => values[row]!));
}
