/**
 * Remembers plans: a training step asks for the same ones over and over, and working one out costs as much as
 * several dispatches. A plan depends on layouts, expressions and the adapter, but not on the values of the
 * op's own parameters, which are the first ones of every launch (see `withParams`).
 *
 *     const key = planKey(target, problem).text(name).number(dim).layout(x).layout(out);
 *     return plans.get(key, () => makePlan(target, problem));
 */
import type { DType } from './dtype.js';
import type { OperandLayout } from './collapse.js';
import { epilogueKey, type Epilogue, type Limits } from './plan.js';
import type { Target } from './kernel.js';

const codes: Readonly<Record<DType, number>> = { float32: 0, float16: 1, int32: 2, uint8: 3, bool: 4 };

const numbers = new Map<unknown, number>();
const targets = new WeakMap<Target, number>();
let targetCount = 0;
let latest: { readonly target: Target; readonly number: number } | undefined;

function numberOfTarget(target: Target): number {
  if (latest?.target === target) return latest.number;
  const number = targets.get(target) ?? targetCount++;
  targets.set(target, number);
  latest = { target, number };
  return number;
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

/**
 * A row of numbers with its hash. As numbers in one array that is used again, a key costs a tenth of a
 * string.
 */
export class PlanKey {
  readonly words: number[] = [];
  length = 0;
  hash = 0;

  begin(): this {
    this.length = 0;
    this.hash = 0;
    return this;
  }

  number(value: number): this {
    this.words[this.length++] = value;
    this.hash = mix(this.hash, value);
    return this;
  }

  /** One of few: each gets a number. */
  text(value: string | boolean | undefined): this {
    let number = numbers.get(value);
    if (number === undefined) numbers.set(value, (number = numbers.size));
    return this.number(number);
  }

  numbers(values: readonly number[]): this {
    this.number(values.length);
    for (let i = 0; i < values.length; i++) this.number(values[i]!);
    return this;
  }

  layout({ dtype, shape, strides, offset }: OperandLayout & { readonly dtype: DType }): this {
    const { words } = this;
    let { length, hash } = this;
    const head = shape.length * 8 + codes[dtype];
    words[length++] = head;
    words[length++] = offset;
    hash = mix(mix(hash, head), offset);
    for (let d = 0; d < shape.length; d++) {
      words[length++] = shape[d]!;
      words[length++] = strides[d]!;
      hash = mix(mix(hash, shape[d]!), strides[d]!);
    }
    this.length = length;
    this.hash = hash;
    return this;
  }

  layouts(operands: readonly (OperandLayout & { readonly dtype: DType })[]): this {
    this.number(operands.length);
    for (let i = 0; i < operands.length; i++) this.layout(operands[i]!);
    return this;
  }

  equals(words: readonly number[]): boolean {
    const { words: mine, length } = this;
    if (words.length !== length) return false;
    for (let i = 0; i < length; i++) if (words[i] !== mine[i]) return false;
    return true;
  }
}

const scratch = new PlanKey();

/** Begins the key of a plan for an adapter; it ends the one before. */
export const planKey = (target: Target, { maxBinding = -1, offsetAlignment = -1 }: Limits): PlanKey =>
  scratch.begin().number(numberOfTarget(target)).number(maxBinding).number(offsetAlignment);

/**
 * A key for a problem of numbers, flags and names, with or without an epilogue, for which there may be
 * choices.
 */
export function problemKey(target: Target, limits: Limits, problem: object): PlanKey {
  const key = planKey(target, limits).number(target.tuning?.id ?? 0);
  for (const [name, value] of Object.entries(problem) as [string, ProblemValue][]) {
    if (value === undefined) continue;
    key.text(name);
    if (typeof value === 'number') key.number(value);
    else key.text(typeof value === 'object' ? epilogueKey(value) : value);
  }
  return key;
}

type ProblemValue = number | string | boolean | Epilogue | undefined;

interface Entry<P> {
  readonly words: readonly number[];
  readonly plan: P;
  readonly next: Entry<P> | undefined;
}

const capacity = 4096;

export class PlanCache<P> {
  private readonly entries = new Map<number, Entry<P>>();

  get(key: PlanKey, build: () => P): P {
    for (let entry = this.entries.get(key.hash); entry !== undefined; entry = entry.next) {
      if (key.equals(entry.words)) return entry.plan;
    }
    // Building may ask for other plans, with other keys.
    const [words, hash] = [key.words.slice(0, key.length), key.hash];
    const plan = build();
    // Plans used in a loop are soon made again, so dropping all of them is cheaper than keeping score.
    if (this.entries.size >= capacity) this.entries.clear();
    this.entries.set(hash, { words, plan, next: this.entries.get(hash) });
    return plan;
  }
}
