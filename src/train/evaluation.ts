export interface Evaluation {
  /** Samples that count: a label of -100 is left out of everything, a share where a sample has several. */
  readonly count: number;
  /** Mean over them. */
  readonly loss: number;
  /** Samples that were classified right; null where outputs are no scores of classes. */
  readonly correct: number | null;
  readonly accuracy: number | null;
  /** Samples whose class is among the likeliest `top`; null without classes, or with a `loss` of your own. */
  readonly topCorrect: number | null;
  /** What the metrics came to, under their names. */
  readonly metrics: Readonly<Record<string, unknown>>;
}
