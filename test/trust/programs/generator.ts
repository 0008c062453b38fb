import fc from 'fast-check';
import { interpret, wellConditioned } from './interpret.js';
import { Machine } from '../reference/machine.js';
import { broadcastShape, numel, sameShape, type Shape } from '../reference/ndarray.js';
import { edgeOf } from '../reference/node.js';
import { Refused, Undefined, type RefusalKind, type Tensor } from '../reference/tensor.js';
import { runStatement, type Program, type Statement } from './statements.js';

/*
 * Random programs. They are built statement by statement on the reference interpreter, which knows the shapes and says what would be
 * refused: most refused statements are left out again, some end the program.
 */

/** Few shapes, so that kernels and their pipelines repeat. */
const leafShapes: readonly Shape[] = [
  [3],
  [4],
  [2, 3],
  [3, 2],
  [2, 2],
  [3, 1],
  [1, 3],
  [2, 2, 3],
  [2, 3, 2],
  [],
];
const maxElements = 24;
const maxRank = 4;

/** How often a refused statement stays as the end of the program. */
const keepRefused: Readonly<Record<RefusalKind, number>> = {
  leaf: 0.1,
  'view of leaf': 0.1,
  'multi-output view': 0.3,
  'noGrad view': 0.3,
  'internal overlap': 0.2,
  'partial overlap': 0.25,
  version: 0.7,
  freed: 0.4,
  'moved leaf': 1,
  shape: 0.05,
  'no grad': 0.05,
  unused: 0.1,
  'detach view': 0.3,
  'not a leaf': 0.1,
};

type Draft = Omit<Statement, 'out'> & { readonly results?: number };

class Builder {
  private program: Statement[] = [];
  private machine = new Machine();
  private registers = new Map<number, Tensor>();
  private next = 0;
  private noGradLeft = 0;
  private ended = false;

  constructor(private readonly random: fc.Random) {}

  build(): Program {
    const leaves = this.int(2, 4);
    for (let i = 0; i < leaves; i++) this.add(this.leaf(i === 0 || this.chance(0.6)));
    const length = this.int(4, 18);
    for (let i = 0; i < length && !this.ended; i++) {
      if (this.noGradLeft > 0) this.noGradLeft--;
      else if (this.chance(0.06)) this.noGradLeft = this.int(1, 3);
      this.add(this.statement());
    }
    for (let tries = 0; tries < 2 && !this.ended; tries++) if (this.add(this.backward(false))) break;
    return this.program;
  }

  // ---- chance

  private int(min: number, max: number): number {
    return this.random.nextInt(min, max);
  }
  private chance(p: number): boolean {
    return this.random.nextInt(0, 9999) < p * 10000;
  }
  private pick<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.int(0, list.length - 1)];
  }
  private number(min: number, max: number): number {
    return Math.round((min + (this.int(0, 100000) / 100000) * (max - min)) * 1000) / 1000;
  }
  /** Away from 0. */
  private signed(): number {
    return (this.chance(0.5) ? 1 : -1) * this.number(0.3, 1.9);
  }
  private dim(x: Tensor): number {
    return this.int(0, x.shape.length - 1);
  }

  // ---- registers

  private get(register: number): Tensor {
    return this.registers.get(register) as Tensor;
  }
  private all(): number[] {
    return [...this.registers.keys()];
  }
  /** One that fits, more often than not a recent one. */
  private any(fits: (x: Tensor) => boolean = () => true): number | undefined {
    const all = this.all().filter((r) => fits(this.get(r)));
    return this.pick(this.chance(0.5) ? all.slice(-4) : all);
  }

  /** Runs the statement; false when it was left out. */
  private add(draft: Draft | undefined): boolean {
    if (draft === undefined) return false;
    const { results = 0, ...rest } = draft;
    const statement: Statement = {
      ...rest,
      out: Array.from({ length: results }, (_, i) => this.next + i),
      ...(this.noGradLeft > 0 &&
        !['leaf', 'backward', 'grad', 'clearGrad'].includes(rest.op) && { noGrad: true }),
    };
    const before = this.registers.size;
    try {
      runStatement(this.machine, this.registers, statement);
    } catch (error) {
      if (!(error instanceof Refused) && !(error instanceof Undefined)) throw error;
      this.replay();
      if (!(error instanceof Refused) || !this.chance(keepRefused[error.kind])) return false;
      this.program.push(statement);
      this.ended = true;
      return true;
    }
    const made = [...this.registers.values()].slice(before);
    const fits = made.every(
      (x) => numel(x.shape) > 0 && numel(x.shape) <= maxElements && x.shape.length <= maxRank,
    );
    if (!fits || !wellConditioned(this.machine)) {
      this.replay();
      return false;
    }
    this.next += results;
    this.program.push(statement);
    return true;
  }

  /** Goes back to the state before a statement that was left out. */
  private replay(): void {
    this.machine = new Machine();
    this.registers = new Map();
    for (const statement of this.program) runStatement(this.machine, this.registers, statement);
  }

  // ---- statements

  private statement(): Draft | undefined {
    const kinds: readonly [weight: number, make: () => Draft | undefined][] = [
      [3, () => this.leaf(this.chance(0.5))],
      [22, () => this.view()],
      [8, () => this.unary()],
      [12, () => this.pair()],
      [4, () => this.masked()],
      [7, () => this.reduction()],
      [4, () => this.loss()],
      [3, () => this.matmul()],
      [4, () => this.join()],
      [3, () => this.indexed()],
      [27, () => this.inPlace()],
      [8, () => this.tape()],
      [5, () => (this.chance(0.7) ? this.backward(this.chance(0.5)) : this.grad())],
    ];
    let at = this.int(0, kinds.reduce((sum, [weight]) => sum + weight, 0) - 1);
    for (const [weight, make] of kinds) if ((at -= weight) < 0) return make();
    return undefined;
  }

  private leaf(requiresGrad: boolean): Draft {
    const shape = this.pick(leafShapes) as Shape;
    const values = Array.from({ length: numel(shape) }, () => this.signed());
    return { op: 'leaf', on: [], args: { shape, values, requiresGrad }, results: 1 };
  }

  private view(): Draft | undefined {
    const r = this.any();
    if (r === undefined) return undefined;
    const x = this.get(r);
    const rank = x.shape.length;
    const one = (op: string, args: Statement['args']): Draft => ({ op, on: [r], args, results: 1 });
    const choices: (() => Draft | undefined)[] = [
      () => one('detach', {}),
      () => one('unsqueeze', { dim: this.int(0, rank) }),
      () => one('contiguous', {}),
      () => this.expand(r, x),
    ];
    if (rank > 0) {
      const dim = this.dim(x);
      const size = x.shape[dim] as number;
      choices.push(
        () => one('select', { dim, index: this.int(0, size - 1) }),
        () => one('narrow', this.range(dim, size)),
        () => one('narrow', this.range(dim, size)),
        () => {
          const start = this.int(0, size - 1);
          return one('slice', { dim, start, end: this.int(start + 1, size), step: this.int(1, 2) });
        },
        () => one('squeeze', { dim }),
        () => one('flatten', this.ordered(rank)),
        () => one('flatten', { start: 0, end: rank - 1 }),
        () => one(this.pick(['view', 'reshape']) as string, { sizes: this.otherShape(x) }),
        () => one(this.pick(['view', 'reshape']) as string, { sizes: this.otherShape(x) }),
        () => this.several(r, x, dim),
        () => {
          const window = this.int(1, size);
          return one('unfold', { dim, size: window, step: this.int(1, 2) });
        },
      );
    }
    if (rank > 1) {
      choices.push(
        () => one('transpose', this.ordered(rank, 'a', 'b')),
        () => one('transpose', { a: 0, b: 1 }),
        () => one('permute', { dims: this.shuffled(x.shape.map((_, d) => d)) }),
        () => one('diagonal', { offset: this.int(0, 1) - this.int(0, 1) }),
      );
    }
    return (this.pick(choices) as () => Draft | undefined)();
  }

  private range(dim: number, size: number): Statement['args'] {
    const start = this.int(0, size - 1);
    return { dim, start, length: this.int(1, size - start) };
  }

  private ordered(rank: number, first = 'start', second = 'end'): Statement['args'] {
    const [a, b] = [this.int(0, rank - 1), this.int(0, rank - 1)];
    return { [first]: Math.min(a, b), [second]: Math.max(a, b) };
  }

  private shuffled<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }

  private otherShape(x: Tensor): number[] {
    const n = numel(x.shape);
    const shapes = [
      [n],
      [1, n],
      [n, 1],
      ...[2, 3]
        .filter((k) => n % k === 0)
        .flatMap((k) => [
          [k, n / k],
          [n / k, k],
        ]),
    ];
    return this.pick(shapes) as number[];
  }

  private expand(r: number, x: Tensor): Draft | undefined {
    const sizes = x.shape.map((size) => (size === 1 && this.chance(0.8) ? this.int(2, 3) : size));
    if (this.chance(sameShape(sizes, x.shape) ? 0.9 : 0.3)) sizes.unshift(2);
    return { op: 'expand', on: [r], args: { sizes }, results: 1 };
  }

  private several(r: number, x: Tensor, dim: number): Draft {
    const size = x.shape[dim] as number;
    const op = this.pick(['split', 'chunk', 'unbind']) as string;
    if (op === 'unbind') return { op, on: [r], args: { dim }, results: size };
    if (op === 'split') {
      const piece = this.int(1, size);
      return { op, on: [r], args: { size: piece, dim }, results: Math.ceil(size / piece) };
    }
    const chunks = this.int(1, 3);
    return { op, on: [r], args: { chunks, dim }, results: Math.ceil(size / Math.ceil(size / chunks)) };
  }

  private unary(): Draft | undefined {
    const r = this.any();
    if (r === undefined) return undefined;
    const one = (op: string, args: Statement['args'] = {}): Draft => ({ op, on: [r], args, results: 1 });
    const names = [
      'relu',
      'relu6',
      'selu',
      'hardsigmoid',
      'silu',
      'sigmoid',
      'tanh',
      'exp',
      'neg',
      'abs',
      'square',
    ];
    const choices = [
      ...names.map((name) => () => one(name)),
      () => one('clone'),
      () => one('clone'),
      () => one('addNumber', { value: this.signed() }),
      () => one('mulNumber', { value: this.signed() }),
      () => one('mulNumber', { value: this.signed() }),
      () => one('clamp', { min: -this.number(0.3, 1), max: this.number(0.3, 1) }),
    ];
    return (this.pick(choices) as () => Draft)();
  }

  private pair(): Draft | undefined {
    const a = this.any();
    if (a === undefined) return undefined;
    const b = this.any((y) => broadcastShape(this.get(a).shape, y.shape) !== null);
    if (b === undefined) return undefined;
    const op = this.pick(['add', 'sub', 'mul', 'mul', 'div', 'maximum']) as string;
    if (op === 'div' && [...this.get(b).read().data].some((v) => Math.abs(v) < 0.25)) return undefined;
    return { op, on: [a, b], args: {}, results: 1 };
  }

  private mask(shape: Shape): Statement['args'] {
    return { shape, mask: Array.from({ length: numel(shape) }, () => this.int(0, 1)) };
  }

  private masked(): Draft | undefined {
    const a = this.any();
    if (a === undefined) return undefined;
    const x = this.get(a);
    if (this.chance(0.4))
      return { op: 'maskedFill', on: [a], args: { ...this.mask(x.shape), value: this.signed() }, results: 1 };
    const b = this.any((y) => broadcastShape(x.shape, y.shape) !== null);
    if (b === undefined) return undefined;
    const shape = broadcastShape(x.shape, this.get(b).shape) as number[];
    return { op: 'where', on: [a, b], args: this.mask(shape), results: 1 };
  }

  private reduction(): Draft | undefined {
    const r = this.any();
    if (r === undefined) return undefined;
    const x = this.get(r);
    const rank = x.shape.length;
    const op = this.pick([
      'sum',
      'sum',
      'sum',
      'mean',
      'mean',
      'amax',
      'prod',
      'max',
      'softmax',
      'logSoftmax',
    ]) as string;
    const one = (args: Statement['args']): Draft => ({ op, on: [r], args, results: 1 });
    if (rank === 0)
      return ['sum', 'mean', 'prod'].includes(op) ? one({ dims: null, keepdim: false }) : undefined;
    if (op === 'prod') return one(this.chance(0.5) ? {} : { dim: this.dim(x) });
    if (['max', 'softmax', 'logSoftmax'].includes(op)) return one({ dim: this.dim(x) });
    const dims = this.chance(0.4)
      ? null
      : this.shuffled(x.shape.map((_, d) => d)).slice(0, this.int(1, rank));
    return one({ dims: dims?.sort((a, b) => a - b) ?? null, keepdim: dims !== null && this.chance(0.4) });
  }

  private loss(): Draft | undefined {
    const r = this.any((x) => x.shape.length > 0);
    if (r === undefined) return undefined;
    const x = this.get(r);
    const args = { reduction: this.pick(['mean', 'sum', 'none']) as string };
    const op = this.pick([
      'mseLoss',
      'mseLoss',
      'l1Loss',
      'bceWithLogits',
      'nllLoss',
      'crossEntropy',
      'crossEntropy',
    ]);
    if (op === 'nllLoss' || op === 'crossEntropy') {
      if (x.shape.length !== 2) return undefined;
      const [n, classes] = x.shape as [number, number];
      const target = Array.from({ length: n }, () => this.int(0, classes - 1));
      return { op, on: [r], args: { ...args, target }, results: 1 };
    }
    const y = this.any((other) => sameShape(other.shape, x.shape));
    if (y === undefined) return undefined;
    return { op: op as string, on: [r, y], args, results: 1 };
  }

  private matmul(): Draft | undefined {
    const a = this.any((x) => x.shape.length > 0 && x.shape.length < 4);
    if (a === undefined) return undefined;
    const { shape } = this.get(a);
    const inner = shape[shape.length - 1];
    const b = this.any((y) =>
      shape.length === 3
        ? y.shape.length === 3 && y.shape[0] === shape[0] && y.shape[1] === inner
        : y.shape.length > 0 && y.shape.length < 3 && y.shape[0] === inner,
    );
    return b === undefined ? undefined : { op: 'matmul', on: [a, b], args: {}, results: 1 };
  }

  private join(): Draft | undefined {
    const a = this.any((x) => x.shape.length > 0);
    if (a === undefined) return undefined;
    const { shape } = this.get(a);
    const same = this.all().filter((r) => sameShape(this.get(r).shape, shape));
    const on = Array.from({ length: this.int(1, 3) }, (_, i) => (i === 0 ? a : (this.pick(same) as number)));
    if (this.chance(0.5)) return { op: 'stack', on, args: { dim: this.int(0, shape.length) }, results: 1 };
    return { op: 'cat', on, args: { dim: this.int(0, shape.length - 1) }, results: 1 };
  }

  private indexed(): Draft | undefined {
    const r = this.any((x) => x.shape.length > 0);
    if (r === undefined) return undefined;
    const x = this.get(r);
    const dim = this.dim(x);
    const size = x.shape[dim] as number;
    const count = this.int(1, 3);
    if (this.chance(0.5)) {
      const index = Array.from({ length: count }, () => this.int(0, size - 1));
      return { op: 'indexSelect', on: [r], args: { dim, index }, results: 1 };
    }
    const shape = x.shape.map((n, d) => (d === dim ? count : n));
    const index = Array.from({ length: numel(shape) }, () => this.int(0, size - 1));
    return { op: 'gather', on: [r], args: { dim, index, shape }, results: 1 };
  }

  private inPlace(): Draft | undefined {
    // Leaves that require grad are refused: only now and then.
    const allowed = (x: Tensor): boolean => this.noGradLeft > 0 || !x.requiresGrad || x.gradFn !== null;
    const r = this.chance(0.04)
      ? this.any()
      : this.any((x) => allowed(x) && (x.view !== null || this.chance(0.6)));
    if (r === undefined) return undefined;
    const x = this.get(r);
    const one = (op: string, args: Statement['args'] = {}): Draft => ({ op, on: [r], args });
    if (this.chance(0.55)) {
      const y = this.any((other) => {
        const shape = broadcastShape(x.shape, other.shape);
        return shape !== null && (sameShape(shape, x.shape) || this.chance(0.03));
      });
      if (y !== undefined) {
        const op = this.pick(['add_', 'sub_', 'mul_', 'mul_', 'div_', 'copy_', 'copy_', 'copy_']) as string;
        if (op === 'div_' && [...this.get(y).read().data].some((v) => Math.abs(v) < 0.25)) return undefined;
        return { op, on: [r, y], args: {} };
      }
    }
    const choices = [
      () => one('relu_'),
      () => one('sigmoid_'),
      () => one('tanh_'),
      () => one('exp_'),
      () => one('zero_'),
      () => one('fill_', { value: this.signed() }),
      () => one('addNumber_', { value: this.signed() }),
      () => one('mulNumber_', { value: this.signed() }),
      () => one('mulNumber_', { value: this.signed() }),
      () => one('clamp_', { min: -this.number(0.3, 1), max: this.number(0.3, 1) }),
      () => one('maskedFill_', { ...this.mask(x.shape), value: this.signed() }),
    ];
    return (this.pick(choices) as () => Draft)();
  }

  private tape(): Draft | undefined {
    const has = (...ops: string[]): boolean => this.program.some(({ op }) => ops.includes(op));
    const op = this.pick([
      'requiresGrad_',
      'requiresGrad_',
      'detach_',
      'retainGrad',
      'retainGrad',
      'hook',
      'clearGrad',
    ]);
    if (op === 'requiresGrad_') {
      const r = this.any((x) => x.gradFn === null || this.chance(0.1));
      return r === undefined ? undefined : { op, on: [r], args: { value: this.chance(0.5) } };
    }
    if (op === 'detach_' || op === 'clearGrad') {
      const r = this.any((x) => (op === 'clearGrad' ? x.grad !== null : x.view === null || this.chance(0.2)));
      return r === undefined ? undefined : { op, on: [r], args: {} };
    }
    // PyTorch 1.13 and 2 differ in what hooks do to `autograd.grad`.
    if (has('grad')) return undefined;
    const r = this.any((x) => x.requiresGrad || this.chance(0.05));
    if (r === undefined) return undefined;
    return {
      op: op as string,
      on: [r],
      args: op === 'hook' ? { factor: this.pick([2, 0.5, -1]) as number } : {},
    };
  }

  private roots(): number[] {
    const wanted = this.all().filter((r) => {
      try {
        return edgeOf(this.get(r)) !== null;
      } catch {
        return this.chance(0.3);
      }
    });
    const picked = new Set<number>();
    for (let i = this.int(1, 3); i > 0; i--) {
      const r = this.pick(this.chance(0.7) ? wanted.slice(-3) : wanted);
      if (r !== undefined) picked.add(r);
    }
    return [...picked];
  }

  private seeds(): number[] {
    return Array.from({ length: 5 }, () => this.signed());
  }

  private backward(retainGraph: boolean): Draft | undefined {
    const on = this.roots();
    if (on.length === 0) return undefined;
    return { op: 'backward', on, args: { seeds: this.seeds(), retainGraph } };
  }

  private grad(): Draft | undefined {
    if (this.program.some(({ op }) => op === 'hook' || op === 'retainGrad')) return undefined;
    const outputs = this.roots();
    const inputs = new Set(this.roots());
    const leaf = this.any((x) => x.wantsGrad);
    if (leaf !== undefined) inputs.add(leaf);
    if (outputs.length === 0 || inputs.size === 0) return undefined;
    const args = { seeds: this.seeds(), outputs: outputs.length, retainGraph: this.chance(0.7) };
    return { op: 'grad', on: [...outputs, ...inputs], args, results: inputs.size };
  }
}

// ---- shrinking

/** Without the statements `drop`, nor any that reads what they made. */
function without(program: Program, drop: (at: number) => boolean): Program {
  const gone = new Set<number>();
  return program.filter((statement, at) => {
    if (!drop(at) && !statement.on.some((r) => gone.has(r))) return true;
    statement.out.forEach((r) => gone.add(r));
    return false;
  });
}

const reading = (program: Program, from: number, to: number): Program =>
  program.map((statement) => ({ ...statement, on: statement.on.map((r) => (r === from ? to : r)) }));

/** Programs that are a little simpler, the boldest steps first. */
export function* simpler(program: Program): Generator<Program> {
  const n = program.length;
  for (let size = Math.ceil(n / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = n - size; from > -size; from -= size) {
      const candidate = without(program, (at) => at >= from && at < from + size);
      if (candidate.length < n) yield candidate;
    }
  }
  const shapes = new Map([...(interpret(program)?.registers ?? [])].map(([r, { shape }]) => [r, shape]));
  // A result's place is taken by an earlier register of its shape.
  for (const [at, statement] of program.entries()) {
    for (const made of statement.out) {
      for (const earlier of program.slice(0, at).flatMap(({ out }) => out)) {
        const [a, b] = [shapes.get(made), shapes.get(earlier)];
        if (a === undefined || b === undefined || !sameShape(a, b)) continue;
        const rest = program.filter((_, i) => i !== at || statement.out.length > 1);
        yield [...rest.slice(0, at), ...reading(rest.slice(at), made, earlier)];
      }
    }
  }
  for (const [at, statement] of program.entries()) {
    const changed = (change: Partial<Statement>): Program =>
      program.map((other, i) => (i === at ? { ...statement, ...change } : other));
    if (statement.noGrad === true) yield changed({ noGrad: false });
    if (statement.op === 'leaf') {
      if (statement.args['requiresGrad'] === true)
        yield changed({ args: { ...statement.args, requiresGrad: false } });
    }
    if (statement.op === 'backward') {
      if (statement.args['retainGraph'] === true)
        yield changed({ args: { ...statement.args, retainGraph: false } });
      if (statement.on.length > 1)
        for (const root of statement.on) yield changed({ on: statement.on.filter((r) => r !== root) });
    }
    if (statement.op !== 'clone' && statement.out.length === 1 && statement.on.length > 0) {
      const [out] = statement.out as [number];
      const [input] = statement.on as [number];
      const [a, b] = [shapes.get(out), shapes.get(input)];
      if (a && b && sameShape(a, b) && statement.on.length > 1)
        yield changed({ op: 'clone', on: [input], args: {} });
    }
  }
}

class Programs extends fc.Arbitrary<Program> {
  generate(random: fc.Random): fc.Value<Program> {
    return new fc.Value(new Builder(random).build(), undefined);
  }

  canShrinkWithoutContext(value: unknown): value is Program {
    return Array.isArray(value);
  }

  shrink(program: Program): fc.Stream<fc.Value<Program>> {
    return fc
      .stream(simpler(program))
      .filter(isSound)
      .map((smaller) => new fc.Value(smaller, undefined));
  }
}

/** Defined by PyTorch, and well-conditioned. */
function isSound(program: Program): boolean {
  const outcome = interpret(program);
  return outcome !== null && wellConditioned(outcome);
}

/** Random programs that PyTorch defines; they shrink by dropping statements. */
export const programs = (): fc.Arbitrary<Program> => new Programs();
