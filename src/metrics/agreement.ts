import { noMore } from '../tensor/options.js';
import { oneOf } from './inputs.js';
import { PairMetric, type PairOptions } from './confusion-matrix.js';

/* How far predictions and labels agree beyond what chance would give, from their confusion matrix. */

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** How many there are of each label, and of each prediction. */
const margins = (matrix: readonly (readonly number[])[]): readonly [number[], number[]] => [
  matrix.map(sum),
  matrix.map((_, j) => sum(matrix.map((row) => row[j] as number))),
];

export interface CohenKappaOptions extends Omit<PairOptions<'binary' | 'multiclass'>, 'numLabels'> {
  /**
   * How much a wrong prediction weighs: all alike (null or 'none', the default), or by how far it is from the
   * label, for classes that have an order: 'linear', or 'quadratic'.
   */
  weights?: 'linear' | 'quadratic' | 'none' | null;
}

/**
 * `torchmetrics.CohenKappa`: 1 - (weight of the wrong predictions) / (their weight by chance), from -1 to 1
 * (J. Cohen, "A Coefficient of Agreement for Nominal Scales", 1960; weighted: "Weighted kappa", 1968). NaN
 * where chance could not be wrong: labels and predictions are all of one class, or there are none.
 */
export class CohenKappa extends PairMetric<number> {
  private readonly weights: string | null;

  constructor(options?: CohenKappaOptions) {
    noMore(new.target.name, arguments, 1);
    const { weights = null } = options ?? {};
    super('CohenKappa', { weights: null }, options, ['binary', 'multiclass']);
    oneOf('CohenKappa', 'weights', weights, ['linear', 'quadratic', 'none', null]);
    this.weights = weights;
  }

  protected async value(): Promise<number> {
    const [matrix = []] = await this.matrices();
    const [labels, guesses] = margins(matrix);
    const all = sum(labels);
    let [wrong, byChance] = [0, 0];
    matrix.forEach((row, i) =>
      row.forEach((count, j) => {
        const weight = this.weightOf(Math.abs(i - j));
        wrong += weight * count;
        byChance += (weight * (labels[i] as number) * (guesses[j] as number)) / all;
      }),
    );
    return 1 - wrong / byChance;
  }

  private weightOf(distance: number): number {
    if (this.weights === 'linear') return distance;
    return this.weights === 'quadratic' ? distance ** 2 : Math.min(distance, 1);
  }
}

/**
 * `torchmetrics.MatthewsCorrCoef`: the correlation of labels and predictions, from -1 to 1 (of several
 * classes: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
 * 2004); of a multilabel task that of all its yes and no together.
 *
 * Where labels or predictions are all of one class it is 0, as in scikit-learn; torchmetrics has 1, -1 or a
 * small number for some of these.
 */
export class MatthewsCorrCoef extends PairMetric<number> {
  constructor(options?: PairOptions) {
    noMore(new.target.name, arguments, 1);
    super('MatthewsCorrCoef', {}, options);
  }

  protected async value(): Promise<number> {
    const matrices = await this.matrices();
    const { classes } = this.task;
    const matrix = Array.from({ length: classes }, (_, i) =>
      Array.from({ length: classes }, (_, j) => sum(matrices.map((one) => one[i]?.[j] as number))),
    );
    const [labels, guesses] = margins(matrix);
    const all = sum(labels);
    const hits = sum(matrix.map((row, i) => row[i] as number));
    const products = (a: readonly number[], b: readonly number[]): number =>
      sum(a.map((x, i) => x * (b[i] as number)));
    const spread = (counts: readonly number[]): number => all ** 2 - products(counts, counts);
    const [ofLabels, ofGuesses] = [spread(labels), spread(guesses)];
    if (ofLabels === 0 || ofGuesses === 0) return 0;
    return (hits * all - products(labels, guesses)) / Math.sqrt(ofLabels) / Math.sqrt(ofGuesses);
  }
}
