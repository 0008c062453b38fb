import { required, type Needed } from '../tensor/options.js';
import {
  aCount,
  aNumber,
  anAmount,
  aPositive,
  eachGroup,
  oneOf,
  orNull,
  readSchedule,
  requireOptimizer,
} from './lr-args.js';
import { LRScheduler, perGroup, recorded } from './lr-base.js';
import type { Optimizer, ParamGroup } from './optimizer.js';
import { show } from './show.js';

/** A group's momentum: SGD's, or Adam's first beta. */
type Momentum = ParamGroup & { momentum?: number; betas?: readonly number[] };

function requireMomentum(what: string, optimizer: Optimizer): void {
  if ('momentum' in optimizer.defaults || 'betas' in optimizer.defaults) return;
  throw new Error(
    `${what}: ${optimizer.constructor.name} has no momentum to cycle; pass { cycleMomentum: false }`,
  );
}

function setMomentum(group: Momentum, momentum: number): void {
  if (group.betas !== undefined) group.betas = [momentum, ...group.betas.slice(1)];
  else group.momentum = momentum;
}

const cosine = (start: number, end: number, part: number): number =>
  end + ((start - end) / 2) * (Math.cos(Math.PI * part) + 1);
const linear = (start: number, end: number, part: number): number => (end - start) * part + start;

type Restarts<Name extends string> = Needed<
  [t0: number],
  [Name],
  [tMult: number, etaMin: number, lastEpoch: number],
  { tMult?: number; TMult?: number; etaMin?: number; lastEpoch?: number }
>;

/**
 * A cosine from the base rate down to `etaMin` that starts anew after `t0` epochs, then after `tMult` times
 * as many, and so on (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983).
 */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  readonly t0: number;
  readonly tMult: number;
  readonly etaMin: number;
  private tI: number;
  private tCur: number;

  /**
   * `t0` (by name `T0` too): epochs until the first restart.
   * @throws Error unless `t0` and `tMult` are positive integers
   */
  constructor(optimizer: Optimizer, ...args: Restarts<'t0'> | Restarts<'T0'>) {
    const { t0, tMult, etaMin, lastEpoch } = readSchedule(
      'CosineAnnealingWarmRestarts',
      optimizer,
      args,
      { t0: required<number>(), tMult: 1, etaMin: 0, lastEpoch: -1 },
      { t0: aCount, tMult: aCount },
      { T0: 't0', TMult: 'tMult' },
    );
    super(optimizer, lastEpoch);
    this.t0 = t0;
    this.tMult = tMult;
    this.etaMin = etaMin;
    this.tI = t0;
    this.tCur = lastEpoch;
    this.start();
  }

  protected getLr(): number[] {
    const { etaMin, tCur, tI } = this;
    return this.each((_, base) => etaMin + ((base - etaMin) * (1 + Math.cos((Math.PI * tCur) / tI))) / 2);
  }

  /** @param epoch jumps there; it may be a fraction, `epoch + batch / batches`, to step after every batch */
  override step(epoch?: number): void {
    recorded(() => this.move(epoch));
  }

  private move(epoch: number | undefined): void {
    this.stepCount++;
    if (epoch === undefined && this.lastEpoch >= 0) {
      this.tCur++;
      if (this.tCur >= this.tI) {
        this.tCur -= this.tI;
        this.tI *= this.tMult;
      }
      this.lastEpoch++;
    } else this.moveTo(epoch ?? 0);
    this.adoptGroups();
    this.apply(this.getLr());
  }

  /** @internal */
  override jump(epoch: number): void {
    this.step(epoch);
  }

  private moveTo(epoch: number): void {
    anAmount('CosineAnnealingWarmRestarts: the epoch', epoch);
    const { t0, tMult } = this;
    if (epoch < t0) {
      this.tI = t0;
      this.tCur = epoch;
    } else if (tMult === 1) this.tCur = epoch % t0;
    else {
      const restarts = Math.trunc(Math.log((epoch / t0) * (tMult - 1) + 1) / Math.log(tMult));
      this.tCur = epoch - (t0 * (tMult ** restarts - 1)) / (tMult - 1);
      this.tI = t0 * tMult ** restarts;
    }
    this.lastEpoch = Math.floor(epoch);
  }
}

function aFunction(what: string, value: unknown): void {
  if (typeof value !== 'function') throw new Error(`${what} must be a function, got ${show(value)}`);
}

/** One rate for all groups, or one each. */
type Rates = number | readonly number[];

export interface CyclicOptions {
  /** Steps from the lower rate to the upper. Default 2000. */
  stepSizeUp?: number;
  /** Steps back down. Default: as many. */
  stepSizeDown?: number | null;
  /** What the height of a cycle does: stays, halves every cycle, or shrinks by `gamma` every step. */
  mode?: 'triangular' | 'triangular2' | 'exp_range';
  gamma?: number;
  /** The height of a cycle, instead of `mode`: of the cycle's number (from 1), or of the step. */
  scaleFn?: ((x: number) => number) | null;
  scaleMode?: 'cycle' | 'iterations';
  /** Move the momentum against the rate. Default true. */
  cycleMomentum?: boolean;
  baseMomentum?: number | readonly number[];
  maxMomentum?: number | readonly number[];
  lastEpoch?: number;
}

/**
 * Back and forth between two rates, in straight lines (Smith 2017, https://arxiv.org/abs/1506.01186). Call
 * `step()` after every batch.
 */
export class CyclicLR extends LRScheduler {
  readonly maxLrs: readonly number[];
  readonly totalSize: number;
  readonly stepRatio: number;
  readonly mode: string;
  readonly gamma: number;
  readonly scaleMode: string;
  readonly cycleMomentum: boolean;
  readonly baseMomentums: readonly number[];
  readonly maxMomentums: readonly number[];
  private readonly scale: (x: number) => number;

  /**
   * By position in PyTorch's order, or by name.
   * @throws Error without `baseLr` and `maxLr`, for an optimizer that has no momentum to cycle, and for
   *   values without a meaning
   */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<
      [baseLr: Rates, maxLr: Rates],
      ['baseLr', 'maxLr'],
      [stepSizeUp: number, stepSizeDown: number | null, mode: Required<CyclicOptions>['mode'], gamma: number],
      CyclicOptions
    >
  ) {
    requireOptimizer('CyclicLR', optimizer);
    const rate = eachGroup(optimizer, aNumber);
    const {
      baseLr,
      maxLr,
      stepSizeUp,
      stepSizeDown,
      mode,
      gamma,
      scaleFn,
      scaleMode,
      cycleMomentum,
      lastEpoch,
      ...momenta
    } = readSchedule<Required<CyclicOptions> & { baseLr: Rates; maxLr: Rates }>(
      'CyclicLR',
      optimizer,
      args,
      {
        baseLr: required(),
        maxLr: required(),
        stepSizeUp: 2000,
        stepSizeDown: null,
        mode: 'triangular',
        gamma: 1,
        scaleFn: null,
        scaleMode: 'cycle',
        cycleMomentum: true,
        baseMomentum: 0.8,
        maxMomentum: 0.9,
        lastEpoch: -1,
      },
      {
        baseLr: rate,
        maxLr: rate,
        stepSizeUp: aPositive,
        stepSizeDown: orNull(anAmount),
        scaleFn: orNull(aFunction),
        scaleMode: oneOf('cycle', 'iterations'),
        baseMomentum: rate,
        maxMomentum: rate,
      },
    );
    const { baseMomentum, maxMomentum } = momenta;
    const modes = {
      triangular: () => 1,
      triangular2: (cycle: number) => 1 / 2 ** (cycle - 1),
      exp_range: (step: number) => gamma ** step,
    };
    if (scaleFn === null && !Object.hasOwn(modes, mode))
      throw new Error(`CyclicLR: mode must be one of ${Object.keys(modes).join(', ')}, got ${show(mode)}`);
    if (cycleMomentum) requireMomentum('CyclicLR', optimizer);
    const baseLrs = perGroup('CyclicLR: baseLr', optimizer, baseLr);
    if (lastEpoch === -1) optimizer.paramGroups.forEach((group, i) => (group.lr = baseLrs[i] as number));
    super(optimizer, lastEpoch);
    this.maxLrs = perGroup('CyclicLR: maxLr', optimizer, maxLr);
    this.totalSize = stepSizeUp + (stepSizeDown ?? stepSizeUp);
    this.stepRatio = stepSizeUp / this.totalSize;
    this.mode = mode;
    this.gamma = gamma;
    this.scale = scaleFn ?? modes[mode];
    this.scaleMode = scaleFn === null ? (mode === 'exp_range' ? 'iterations' : 'cycle') : scaleMode;
    this.cycleMomentum = cycleMomentum;
    this.baseMomentums = perGroup('CyclicLR: baseMomentum', optimizer, baseMomentum);
    this.maxMomentums = perGroup('CyclicLR: maxMomentum', optimizer, maxMomentum);
    // A scheduler made before may have set other initial rates.
    this.baseLrs.splice(0, this.baseLrs.length, ...baseLrs);
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch, totalSize, stepRatio } = this;
    const cycle = Math.floor(1 + lastEpoch / totalSize);
    const x = 1 + lastEpoch / totalSize - cycle;
    const height = x <= stepRatio ? x / stepRatio : (x - 1) / (stepRatio - 1);
    const scale = this.scale(this.scaleMode === 'cycle' ? cycle : lastEpoch);
    if (this.cycleMomentum) {
      this.optimizer.paramGroups.forEach((group, i) => {
        const [least, most] = [this.baseMomentums[i] as number, this.maxMomentums[i] as number];
        setMomentum(group, most - (most - least) * height * scale);
      });
    }
    return this.each((_, base, i) => base + ((this.maxLrs[i] as number) - base) * height * scale);
  }
}

export interface OneCycleOptions {
  /** Steps of the whole cycle; or give `epochs` and `stepsPerEpoch`. */
  totalSteps?: number | null;
  epochs?: number | null;
  stepsPerEpoch?: number | null;
  /** The part of the cycle in which the rate rises. Default 0.3. */
  pctStart?: number;
  annealStrategy?: 'cos' | 'linear';
  /** Move the momentum against the rate. Default true. */
  cycleMomentum?: boolean;
  baseMomentum?: number | readonly number[];
  maxMomentum?: number | readonly number[];
  /** The first rate is maxLr / divFactor. Default 25. */
  divFactor?: number;
  /** The last rate is the first / finalDivFactor. Default 1e4. */
  finalDivFactor?: number;
  /** Down to the first rate as fast as up, and from there to the last. */
  threePhase?: boolean;
  lastEpoch?: number;
}

type RateName = 'initialLr' | 'maxLr' | 'minLr';
type MomentumName = 'baseMomentum' | 'maxMomentum';
interface Phase {
  readonly end: number;
  readonly lr: readonly [from: RateName, to: RateName];
  readonly momentum: readonly [from: MomentumName, to: MomentumName];
}

/**
 * Up to `maxLr` and down to almost nothing, once (Smith & Topin 2018, https://arxiv.org/abs/1708.07120). Call
 * `step()` after every batch.
 */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  readonly cycleMomentum: boolean;
  private readonly phases: readonly Phase[];
  private readonly anneal: (start: number, end: number, part: number) => number;

  /**
   * By position in PyTorch's order, or by name.
   * @throws Error without `maxLr`, where the number of steps is not given, for an optimizer that has no
   *   momentum to cycle, and for values without a meaning
   */
  constructor(
    optimizer: Optimizer,
    ...args: Needed<
      [maxLr: Rates],
      ['maxLr'],
      [totalSteps: number | null, epochs: number | null, stepsPerEpoch: number | null, pctStart: number],
      OneCycleOptions
    >
  ) {
    requireOptimizer('OneCycleLR', optimizer);
    const [rate, count] = [eachGroup(optimizer, aNumber), orNull(aCount)];
    const { maxLr, epochs, stepsPerEpoch, pctStart, annealStrategy, cycleMomentum, threePhase, ...rest } =
      readSchedule<Required<OneCycleOptions> & { maxLr: Rates }>(
        'OneCycleLR',
        optimizer,
        args,
        {
          maxLr: required(),
          totalSteps: null,
          epochs: null,
          stepsPerEpoch: null,
          pctStart: 0.3,
          annealStrategy: 'cos',
          cycleMomentum: true,
          baseMomentum: 0.85,
          maxMomentum: 0.95,
          divFactor: 25,
          finalDivFactor: 1e4,
          threePhase: false,
          lastEpoch: -1,
        },
        {
          maxLr: rate,
          totalSteps: count,
          epochs: count,
          stepsPerEpoch: count,
          annealStrategy: oneOf('cos', 'linear'),
          baseMomentum: rate,
          maxMomentum: rate,
          divFactor: aPositive,
          finalDivFactor: aPositive,
        },
      );
    const { baseMomentum, maxMomentum, divFactor, finalDivFactor, lastEpoch } = rest;
    const totalSteps = rest.totalSteps ?? (epochs ?? 0) * (stepsPerEpoch ?? 0);
    if (totalSteps === 0)
      throw new Error('OneCycleLR: give totalSteps, or epochs and stepsPerEpoch, as positive integers');
    if (!(pctStart >= 0 && pctStart <= 1))
      throw new Error(`OneCycleLR: pctStart must be between 0 and 1, got ${pctStart}`);
    if (cycleMomentum) requireMomentum('OneCycleLR', optimizer);
    const rates = perGroup('OneCycleLR: maxLr', optimizer, maxLr);
    const most = perGroup('OneCycleLR: maxMomentum', optimizer, maxMomentum);
    const least = perGroup('OneCycleLR: baseMomentum', optimizer, baseMomentum);
    if (lastEpoch === -1) {
      optimizer.paramGroups.forEach((group, i) => {
        group.maxLr = rates[i] as number;
        group.initialLr = group.maxLr / divFactor;
        group.minLr = group.initialLr / finalDivFactor;
        if (!cycleMomentum) return;
        group.maxMomentum = most[i] as number;
        group.baseMomentum = least[i] as number;
      });
    }
    super(optimizer, lastEpoch);
    this.totalSteps = totalSteps;
    this.cycleMomentum = cycleMomentum;
    this.anneal = annealStrategy === 'cos' ? cosine : linear;
    const up = pctStart * totalSteps - 1;
    const rise: Phase = { end: up, lr: ['initialLr', 'maxLr'], momentum: ['maxMomentum', 'baseMomentum'] };
    const end = totalSteps - 1;
    this.phases = threePhase
      ? [
          rise,
          { end: 2 * up, lr: ['maxLr', 'initialLr'], momentum: ['baseMomentum', 'maxMomentum'] },
          { end, lr: ['initialLr', 'minLr'], momentum: ['maxMomentum', 'maxMomentum'] },
        ]
      : [rise, { end, lr: ['maxLr', 'minLr'], momentum: ['baseMomentum', 'maxMomentum'] }];
    this.start();
  }

  protected getLr(): number[] {
    const { lastEpoch: step, totalSteps, phases } = this;
    if (step > totalSteps) {
      throw new Error(
        `OneCycleLR: step() was called ${step} times, but the cycle has ${totalSteps} steps; make it with a larger totalSteps`,
      );
    }
    const index = phases.findIndex(({ end }, i) => step <= end || i === phases.length - 1);
    const phase = phases[index] as Phase;
    const start = phases[index - 1]?.end ?? 0;
    const part = (step - start) / (phase.end - start);
    const between = (group: ParamGroup, [from, to]: Phase['lr'] | Phase['momentum']): number =>
      this.anneal(group[from] as number, group[to] as number, part);
    if (this.cycleMomentum)
      for (const group of this.optimizer.paramGroups) setMomentum(group, between(group, phase.momentum));
    return this.optimizer.paramGroups.map((group) => between(group, phase.lr));
  }
}
