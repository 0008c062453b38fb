import { enableGrad, noGrad } from '../autograd/mode.js';
import {
  abs,
  add,
  add_,
  amax,
  cat,
  clone,
  copy_,
  dot,
  mul,
  narrow,
  neg,
  reshape,
  stack,
  sub,
  sum,
  zeros,
} from '../ops/index.js';
import { isPlainObject, noMore } from '../tensor/options.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import type { Shape } from '../tensor/shape.js';
import { tidy } from '../tensor/tidy.js';
import { strongWolfe, type LinePoint } from './line-search.js';
import { Optimizer, requireAtLeast, type BaseOptions, type Params } from './optimizer.js';
import type { ParamState } from './state.js';

export interface LBFGSOptions extends BaseOptions {
  /** Iterations of one step. */
  maxIter: number;
  /** Evaluations of the closure in one step. Default maxIter * 5 / 4. */
  maxEval: number;
  /** Stop when no gradient is larger. */
  toleranceGrad: number;
  /** Stop when the loss or the parameters change by less. */
  toleranceChange: number;
  /** Pairs of changes that the curvature is estimated from; each takes the memory of two gradients. */
  historySize: number;
  lineSearchFn: 'strong_wolfe' | null;
}

/** What `state` holds for the first parameter, under PyTorch's names. */
interface History {
  func_evals?: number;
  n_iter?: number;
  d?: Tensor;
  t?: number;
  old_dirs?: Tensor[];
  old_stps?: Tensor[];
  ro?: number[];
  H_diag?: number;
  prev_flat_grad?: Tensor;
  prev_loss?: number;
}

const vectors = new Set(['d', 'old_dirs', 'old_stps', 'prev_flat_grad']);

/** Computes on the GPU without recording; what is returned outlives the call. */
const compute = <R>(fn: () => R): R => noGrad(() => tidy(fn));

/** Numbers that the algorithm branches on; one wait for all. */
async function read(scalars: () => Tensor[]): Promise<number[]> {
  const all = compute(() => stack(scalars()));
  const values = Array.from(await all.data());
  all.dispose();
  return values;
}

/**
 * `torch.optim.LBFGS`: a quasi-Newton method for few parameters and whole-batch losses (Nocedal & Wright
 * 2006, chapter 7). It evaluates the loss several times in one step and branches on it, so a step is given a
 * closure and awaited:
 *
 * ```ts
 * await optimizer.step(() => {
 *   optimizer.zeroGrad();
 *   const loss = criterion(model(x), y);
 *   loss.backward();
 *   return loss;
 * });
 * ```
 * All parameters are in one group.
 */
export class LBFGS extends Optimizer<LBFGSOptions> {
  constructor(params: Params<LBFGSOptions>, options: Partial<LBFGSOptions> = {}) {
    noMore(new.target.name, arguments, 2);
    const { maxIter = 20 } = isPlainObject(options) ? options : {};
    const steps = { maxIter: 20, maxEval: Math.floor((maxIter * 5) / 4), historySize: 100 };
    const rest = { toleranceGrad: 1e-7, toleranceChange: 1e-9, lineSearchFn: null };
    super(params, { lr: 1, ...steps, ...rest }, options);
  }

  override addParamGroup(group: { params: Tensor | Iterable<Tensor> } & Partial<LBFGSOptions>): void {
    if (this.paramGroups.length > 0) throw new Error('LBFGS: all parameters must be in one group');
    super.addParamGroup(group);
  }

  protected check({ lr, maxIter, historySize, lineSearchFn }: LBFGSOptions): void {
    for (const [name, value] of Object.entries({ lr, maxIter, historySize }))
      requireAtLeast('LBFGS', name, value, 0);
    if (lineSearchFn !== null && lineSearchFn !== 'strong_wolfe')
      throw new Error(`LBFGS: lineSearchFn must be 'strong_wolfe' or null, got '${String(lineSearchFn)}'`);
  }

  protected override shapeOf(name: string): Shape | null {
    return vectors.has(name)
      ? [this.params.reduce((count, parameter) => count + parameter.numel(), 0)]
      : null;
  }

  protected override needs(): readonly string[] {
    return ['func_evals'];
  }

  private get params(): readonly Tensor[] {
    return this.paramGroups[0]?.params ?? [];
  }

  /**
   * @param closure clears the gradients, computes the loss, runs `backward()` and returns the loss
   * @returns the first loss, from before the step
   */
  override async step<R extends Tensor | number>(closure: () => R | Promise<R>): Promise<R> {
    if (typeof closure !== 'function')
      throw new Error('LBFGS: step needs a closure that computes the loss and its gradients');
    this.checkStep();
    const group = this.paramGroups[0];
    const first = this.params[0];
    if (group === undefined || first === undefined) throw new Error('LBFGS: there are no parameters');
    const { lr, maxIter, maxEval, toleranceGrad, toleranceChange, historySize, lineSearchFn } = group;
    if (!this.state.has(first)) this.state.set(first, {});
    const state = this.state.get(first) as ParamState & History;
    const evaluate = async (): Promise<{ result: R; loss: number; grad: Tensor }> => {
      state.func_evals = (state.func_evals ?? 0) + 1;
      const result = await enableGrad(closure);
      return {
        result,
        loss: isTensor(result) ? await result.item() : (result as number),
        grad: this.flatGrad(),
      };
    };

    const { result, ...start } = await evaluate();
    let { loss, grad } = start;
    let evaluations = 1;
    let [largest = 0] = await read(() => [amax(abs(grad))]);
    if (largest <= toleranceGrad) return result;

    for (let iteration = 1; iteration <= maxIter; iteration++) {
      const total = (state.n_iter = (state.n_iter ?? 0) + 1);
      const d = total === 1 ? compute(() => neg(grad)) : await this.direction(state, grad, historySize);
      if (total === 1) Object.assign(state, { old_dirs: [], old_stps: [], ro: [], H_diag: 1 });
      if (state.prev_flat_grad !== grad) state.prev_flat_grad?.dispose();
      state.d?.dispose();
      Object.assign(state, { d: d.keep(), prev_flat_grad: grad.keep(), prev_loss: loss });
      const [size = 0, slope = 0, longest = 0] = await read(() => [
        sum(abs(grad)),
        dot(grad, d),
        amax(abs(d)),
      ]);
      let t = (total === 1 ? Math.min(1, 1 / size) : 1) * lr;
      state.t = t;
      if (slope > -toleranceChange) break;

      const before = loss;
      let used = 0;
      if (lineSearchFn === 'strong_wolfe') {
        const origin = compute(() => this.params.map((parameter) => clone(parameter)));
        const along = async (step: number): Promise<LinePoint<Tensor>> => {
          this.move(d, step);
          const { loss: value, grad: there } = await evaluate();
          compute(() => this.params.forEach((parameter, i) => void copy_(parameter, origin[i] as Tensor)));
          const [rise = 0] = await read(() => [dot(there, d)]);
          return { t: step, loss: value, grad: there, slope: rise };
        };
        const found = await strongWolfe(along, t, { t: 0, loss, grad, slope }, longest, toleranceChange);
        ({ loss, grad, t } = found.point);
        used = found.evaluations;
        for (const tensor of origin) tensor.dispose();
        this.move(d, t);
      } else {
        this.move(d, t);
        // In the last iteration nobody asks for the loss again.
        if (iteration < maxIter) {
          ({ loss, grad } = await evaluate());
          used = 1;
        }
      }
      state.t = t;
      evaluations += used;
      if (used > 0) [largest = 0] = await read(() => [amax(abs(grad))]);
      if (evaluations >= maxEval || largest <= toleranceGrad) break;
      if (longest * Math.abs(t) <= toleranceChange || Math.abs(loss - before) < toleranceChange) break;
    }
    return result;
  }

  /**
   * Minus the gradient times the estimate of the inverse Hessian, after taking the last change into the
   * history.
   */
  private async direction(state: History, grad: Tensor, historySize: number): Promise<Tensor> {
    const { old_dirs: dirs = [], old_stps: steps = [], ro = [], d, t = 0, prev_flat_grad: before } = state;
    if (d === undefined || before === undefined) throw new Error('LBFGS: the loaded state has no direction');
    const y = compute(() => sub(grad, before));
    const s = compute(() => mul(d, t));
    const [ys = 0, yy = 0] = await read(() => [dot(y, s), dot(y, y)]);
    if (ys > 1e-10) {
      if (dirs.length === historySize) {
        dirs.shift()?.dispose();
        steps.shift()?.dispose();
        ro.shift();
      }
      dirs.push(y.keep());
      steps.push(s.keep());
      ro.push(1 / ys);
      state.H_diag = ys / yy;
    }
    // The two-loop recursion; its scalars stay on the GPU.
    return compute(() => {
      let q = neg(grad);
      const alphas: Tensor[] = [];
      for (let i = dirs.length - 1; i >= 0; i--) {
        const alpha = mul(dot(steps[i] as Tensor, q), ro[i] as number);
        alphas[i] = alpha;
        q = sub(q, mul(dirs[i] as Tensor, alpha));
      }
      let r = mul(q, state.H_diag ?? 1);
      for (let i = 0; i < dirs.length; i++) {
        const beta = mul(dot(dirs[i] as Tensor, r), ro[i] as number);
        r = add(r, mul(steps[i] as Tensor, sub(alphas[i] as Tensor, beta)));
      }
      return r;
    });
  }

  private flatGrad(): Tensor {
    return compute(() =>
      cat(
        this.params.map((parameter) =>
          parameter.leafGrad === null ? zeros(parameter.numel()) : clone(reshape(parameter.leafGrad, [-1])),
        ),
      ),
    );
  }

  private move(direction: Tensor, step: number): void {
    compute(() => {
      let at = 0;
      for (const parameter of this.params) {
        const size = parameter.numel();
        add_(parameter, reshape(narrow(direction, 0, at, size), parameter.shape), { alpha: step });
        at += size;
      }
    });
  }
}
