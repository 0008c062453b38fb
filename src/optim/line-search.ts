/**
 * The line search of `torch.optim.LBFGS`, after minFunc
 * (https://www.cs.ubc.ca/~schmidtm/Software/minFunc.html).
 */

/** A point on the line: its step, the loss, the gradient there, and the slope (gradient times direction). */
export interface LinePoint<G> {
  readonly t: number;
  readonly loss: number;
  readonly grad: G;
  readonly slope: number;
}

/**
 * Minimum of the cubic through two points with their slopes, within bounds (Nocedal & Wright 2006, (3.59)).
 */
function cubicMinimum(
  a: Omit<LinePoint<unknown>, 'grad'>,
  b: Omit<LinePoint<unknown>, 'grad'>,
  bounds: readonly [number, number] = a.t <= b.t ? [a.t, b.t] : [b.t, a.t],
): number {
  const d1 = a.slope + b.slope - (3 * (a.loss - b.loss)) / (a.t - b.t);
  const square = d1 ** 2 - a.slope * b.slope;
  if (!(square >= 0)) return (bounds[0] + bounds[1]) / 2;
  const d2 = Math.sqrt(square);
  const minimum =
    a.t <= b.t
      ? b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
      : a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2));
  return Math.min(Math.max(minimum, bounds[0]), bounds[1]);
}

const sufficientDecrease = 1e-4;
const curvature = 0.9;
const maxSearches = 25;

/**
 * A step that satisfies the strong Wolfe conditions, or the best one found in 25 evaluations.
 *
 * @param first step to try first
 * @param longest largest absolute entry of the direction
 */
export async function strongWolfe<G>(
  evaluate: (t: number) => Promise<LinePoint<G>>,
  first: number,
  start: LinePoint<G>,
  longest: number,
  toleranceChange: number,
): Promise<{ point: LinePoint<G>; evaluations: number }> {
  const tooHigh = ({ t, loss }: LinePoint<G>): boolean =>
    loss > start.loss + sufficientDecrease * t * start.slope;
  const flat = ({ slope }: LinePoint<G>): boolean => Math.abs(slope) <= -curvature * start.slope;

  let point = await evaluate(first);
  let evaluations = 1;
  let before = start;
  let bracket: [LinePoint<G>, LinePoint<G>] | null = null;
  let searches = 0;
  for (; searches < maxSearches; searches++) {
    if (tooHigh(point) || (searches > 1 && point.loss >= before.loss)) {
      bracket = [before, point];
      break;
    }
    if (flat(point)) return { point, evaluations };
    if (point.slope >= 0) {
      bracket = [before, point];
      break;
    }
    const bounds = [point.t + 0.01 * (point.t - before.t), point.t * 10] as const;
    const next = cubicMinimum(before, point, bounds);
    before = point;
    point = await evaluate(next);
    evaluations++;
  }
  let [low, high] = bracket ?? [start, point];
  if (low.loss > high.loss) [low, high] = [high, low];

  let stuck = false;
  let done = false;
  for (; !done && searches < maxSearches; searches++) {
    const [left, right] = [Math.min(low.t, high.t), Math.max(low.t, high.t)];
    if ((right - left) * longest < toleranceChange) break;
    let t = cubicMinimum(low, high);
    const margin = 0.1 * (right - left);
    if (Math.min(right - t, t - left) < margin) {
      // Twice so close to an end, or on it: go a tenth of the bracket inside.
      if (stuck || t >= right || t <= left) {
        t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
        stuck = false;
      } else stuck = true;
    } else stuck = false;
    point = await evaluate(t);
    evaluations++;
    if (tooHigh(point) || point.loss >= low.loss) {
      high = point;
      if (low.loss > high.loss) [low, high] = [high, low];
    } else {
      if (flat(point)) done = true;
      else if (point.slope * (high.t - low.t) >= 0) high = low;
      low = point;
    }
  }
  return { point: low, evaluations };
}
