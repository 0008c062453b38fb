import {
  broadcastShape,
  broadcastTo,
  groups,
  NdArray,
  numel,
  positions,
  reduce,
  reducedShape,
  rowMajor,
  sumTo,
  zip,
  type Shape,
} from './ndarray.js';
import { Refused } from './tensor.js';

/*
 * The differentiable ops: value, gradient, and what PyTorch saves for the gradient (tools/autograd/derivatives.yaml), since a
 * saved tensor must not be changed before backward.
 */

/** What a gradient may look at. Inputs and output are there only if they were saved. */
export interface Saved {
  readonly inputs: readonly (NdArray | undefined)[];
  readonly output: NdArray | undefined;
  readonly shapes: readonly Shape[];
}

export interface Formula {
  readonly name: string;
  forward(...inputs: NdArray[]): NdArray;
  /** Indices of saved inputs, given which inputs want a gradient. */
  readonly savesInputs?: (needs: readonly boolean[]) => readonly number[];
  readonly savesOutput?: boolean;
  /**
   * Saves something that is no tensor of the program (an index, a mask, a number): backward frees it all the
   * same.
   */
  readonly savesOther?: boolean;
  /** Gradients of the inputs, each computed only where it is wanted. */
  backward(grad: NdArray, saved: Saved): readonly (() => NdArray)[];
  /** How the result lies in memory: as PyTorch's TensorIterator lays it out, or row-major (the default). */
  readonly layout?: 'pointwise';
  /** A row-major operand before the inputs, which has its say about the layout. */
  readonly leading?: NdArray;
  /**
   * Distance of the inputs to a kink or a tie; programs keep away from those, since rounding decides there.
   */
  readonly margin?: (...inputs: NdArray[]) => number;
}

const mul = (a: NdArray, b: NdArray): NdArray => zip((x, y) => x * y, a, b);

// ---- pointwise, one input

interface Unary {
  value(x: number): number;
  /** From input and output. */
  slope(x: number, y: number): number;
  readonly saves: 'input' | 'output' | 'other' | 'nothing';
  readonly kinks?: readonly number[];
}

const pointwise = (name: string, { value, slope, saves, kinks }: Unary): Formula => ({
  name,
  layout: 'pointwise',
  forward: (x) => x.map((v) => value(v)),
  savesInputs: () => (saves === 'input' ? [0] : []),
  savesOutput: saves === 'output',
  savesOther: saves === 'other',
  backward: (grad, { inputs: [x], output: y }) => [
    () => grad.map((g, i) => g * slope(x?.data[i] ?? NaN, y?.data[i] ?? NaN)),
  ],
  ...(kinks && { margin: (x) => distance(x, kinks) }),
});

const distance = (x: NdArray, kinks: readonly number[]): number =>
  Math.min(Infinity, ...[...x.data].flatMap((v) => kinks.map((kink) => Math.abs(v - kink))));

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const seluAlpha = 1.6732632423543772848170429916717;
const seluScale = 1.0507009873554804934193349852946;

export const unary = {
  relu: pointwise('relu', {
    value: (x) => Math.max(x, 0),
    slope: (_, y) => (y > 0 ? 1 : 0),
    saves: 'output',
    kinks: [0],
  }),
  relu6: pointwise('relu6', {
    value: (x) => Math.min(Math.max(x, 0), 6),
    slope: (x) => (x > 0 && x < 6 ? 1 : 0),
    saves: 'input',
    kinks: [0, 6],
  }),
  selu: pointwise('selu', {
    value: (x) => seluScale * (x > 0 ? x : seluAlpha * Math.expm1(x)),
    slope: (x) => seluScale * (x > 0 ? 1 : seluAlpha * Math.exp(x)),
    saves: 'input',
    kinks: [0],
  }),
  hardsigmoid: pointwise('hardsigmoid', {
    value: (x) => Math.min(Math.max(x + 3, 0), 6) / 6,
    slope: (x) => (x > -3 && x < 3 ? 1 / 6 : 0),
    saves: 'input',
    kinks: [-3, 3],
  }),
  silu: pointwise('silu', {
    value: (x) => x * sigmoid(x),
    slope: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    saves: 'input',
  }),
  sigmoid: pointwise('sigmoid', { value: sigmoid, slope: (_, y) => y * (1 - y), saves: 'output' }),
  tanh: pointwise('tanh', { value: Math.tanh, slope: (_, y) => 1 - y * y, saves: 'output' }),
  exp: pointwise('exp', { value: Math.exp, slope: (_, y) => y, saves: 'output' }),
  neg: pointwise('neg', { value: (x) => -x, slope: () => -1, saves: 'nothing' }),
  abs: pointwise('abs', { value: Math.abs, slope: (x) => Math.sign(x), saves: 'input', kinks: [0] }),
  square: pointwise('square', { value: (x) => x * x, slope: (x) => 2 * x, saves: 'input' }),
} satisfies Record<string, Formula>;

export const addNumber = (value: number): Formula =>
  pointwise('add', { value: (x) => x + value, slope: () => 1, saves: 'nothing' });

/** PyTorch saves the number, as a tensor. */
export const mulNumber = (value: number): Formula =>
  pointwise('mul', { value: (x) => x * value, slope: () => value, saves: 'other' });

export const clamp = (min: number, max: number): Formula =>
  pointwise('clamp', {
    value: (x) => Math.min(Math.max(x, min), max),
    slope: (x) => (x >= min && x <= max ? 1 : 0),
    saves: 'input',
    kinks: [min, max],
  });

/** `fill_`: whatever was there gets no gradient. */
export const fill = (value: number): Formula =>
  pointwise('fill', { value: () => value, slope: () => 0, saves: 'nothing' });

export const clone: Formula = {
  name: 'clone',
  layout: 'pointwise',
  forward: (x) => x,
  backward: (grad) => [() => grad],
};

/** A row-major copy under another shape. */
export const reshapedCopy = (to: Shape): Formula => ({
  name: 'reshape',
  forward: (x) => x.reshape(to),
  backward: (grad, { shapes: [shape] }) => [() => grad.reshape(shape as Shape)],
});

// ---- pointwise, two inputs

function binary(
  name: string,
  value: (x: number, y: number) => number,
  backward: Formula['backward'],
  rest: Partial<Formula> = {},
): Formula {
  return {
    name,
    layout: 'pointwise',
    forward: (a, b) => {
      if (broadcastShape(a.shape, b.shape) === null) throw new Refused('shape');
      return zip(value, a, b);
    },
    backward: (grad, saved) =>
      backward(grad, saved).map((thunk, i) => () => sumTo(thunk(), saved.shapes[i] as Shape)),
    ...rest,
  };
}

/** The gradient of each input needs the other. */
const savesOther = (needs: readonly boolean[]): number[] => [
  ...(needs[1] ? [0] : []),
  ...(needs[0] ? [1] : []),
];

export const pairs = {
  add: binary(
    'add',
    (x, y) => x + y,
    (grad) => [() => grad, () => grad],
  ),
  sub: binary(
    'sub',
    (x, y) => x - y,
    (grad) => [() => grad, () => grad.map((g) => -g)],
  ),
  mul: binary(
    'mul',
    (x, y) => x * y,
    (grad, { inputs: [a, b] }) => [() => mul(grad, b as NdArray), () => mul(grad, a as NdArray)],
    { savesInputs: savesOther },
  ),
  div: binary(
    'div',
    (x, y) => x / y,
    (grad, { inputs: [a, b] }) => [
      () => zip((g, y) => g / y, grad, b as NdArray),
      () => zip((g, x, y) => (-g * x) / (y * y), grad, a as NdArray, b as NdArray),
    ],
    { savesInputs: (needs) => [...(needs[1] ? [0] : []), 1], margin: (_, b) => distance(b, [0]) },
  ),
  maximum: binary(
    'maximum',
    Math.max,
    (grad, { inputs: [a, b] }) => [
      () => zip((g, x, y) => (x > y ? g : 0), grad, a as NdArray, b as NdArray),
      () => zip((g, x, y) => (y > x ? g : 0), grad, a as NdArray, b as NdArray),
    ],
    {
      savesInputs: () => [0, 1],
      margin: (a, b) =>
        distance(
          zip((x, y) => x - y, a, b),
          [0],
        ),
    },
  ),
} satisfies Record<string, Formula>;

/** `copy_`: input 0 is written over. */
export const copy: Formula = binary(
  'copy',
  (_, y) => y,
  (grad) => [() => grad.map(() => 0), () => grad],
);

/** `where(mask, a, b)`. */
export const where = (mask: NdArray): Formula => ({
  name: 'where',
  layout: 'pointwise',
  leading: mask,
  forward: (a, b) => {
    if (broadcastShape(mask.shape, a.shape, b.shape) === null) throw new Refused('shape');
    return zip((m, x, y) => (m ? x : y), mask, a, b);
  },
  savesOther: true,
  backward: (grad, { shapes: [a, b] }) => [
    () =>
      sumTo(
        zip((m, g) => (m ? g : 0), mask, grad),
        a as Shape,
      ),
    () =>
      sumTo(
        zip((m, g) => (m ? 0 : g), mask, grad),
        b as Shape,
      ),
  ],
});

export const maskedFill = (mask: NdArray, value: number): Formula => ({
  name: 'maskedFill',
  forward: (x) => {
    if (broadcastShape(mask.shape, x.shape) === null) throw new Refused('shape');
    return zip((m, v) => (m ? value : v), mask, x);
  },
  savesOther: true,
  backward: (grad, { shapes: [shape] }) => [
    () =>
      sumTo(
        zip((m, g) => (m ? 0 : g), mask, grad),
        shape as Shape,
      ),
  ],
});

// ---- reductions

const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Spreads a reduced array over the shape that it was reduced from. */
const spread = (x: NdArray, shape: Shape, dims: readonly number[]): NdArray =>
  broadcastTo(x.reshape(reducedShape(shape, dims, true)), shape);

export const sum = (dims: readonly number[], keepdim: boolean): Formula => ({
  name: 'sum',
  forward: (x) => reduce(x, dims, keepdim, total),
  backward: (grad, { shapes: [shape] }) => [() => spread(grad, shape as Shape, dims)],
});

/** With `along`, the mean over given dims, for which PyTorch saves the input (only for its shape). */
export const mean = (dims: readonly number[], keepdim: boolean, along = true): Formula => ({
  name: 'mean',
  savesInputs: () => (along ? [0] : []),
  forward: (x) => reduce(x, dims, keepdim, (values) => total(values) / values.length),
  backward: (grad, { shapes: [shape] }) => {
    const count = numel(shape as Shape) / numel(grad.shape);
    return [() => spread(grad, shape as Shape, dims).map((g) => g / count)];
  },
});

/** The distance between the largest element of each group and the next. */
const tieMargin =
  (dims: readonly number[]) =>
  (x: NdArray): number =>
    Math.min(
      ...groups(x.shape, dims).map((group) => {
        const sorted = group.map((i) => x.data[i] as number).sort((a, b) => b - a);
        return sorted.length < 2 ? Infinity : (sorted[0] as number) - (sorted[1] as number);
      }),
    );

/** The gradient goes to the largest element. */
const toLargest = (grad: NdArray, x: NdArray, dims: readonly number[]): NdArray => {
  const largest = reduce(x, dims, true, (values) => Math.max(...values));
  return zip(
    (g, v, top) => (v === top ? g : 0),
    spread(grad, x.shape, dims),
    x,
    broadcastTo(largest, x.shape),
  );
};

export const amax = (dims: readonly number[], keepdim: boolean): Formula => ({
  name: 'amax',
  forward: (x) => reduce(x, dims, keepdim, (values) => Math.max(...values)),
  savesInputs: () => [0],
  savesOutput: true,
  margin: tieMargin(dims),
  backward: (grad, { inputs: [x] }) => [() => toLargest(grad, x as NdArray, dims)],
});

/** The values of `max(dim)`: PyTorch saves the indices only. */
export const maxAlong = (dim: number): Formula => {
  let at: NdArray;
  return {
    name: 'max',
    forward: (x) => {
      const largest = reduce(x, [dim], true, (values) => Math.max(...values));
      at = zip((v, top) => Number(v === top), x, broadcastTo(largest, x.shape));
      return reduce(x, [dim], false, (values) => Math.max(...values));
    },
    savesOther: true,
    margin: tieMargin([dim]),
    backward: (grad, { shapes: [shape] }) => [() => mul(spread(grad, shape as Shape, [dim]), at)],
  };
};

export const prod = (dims: readonly number[]): Formula => ({
  name: 'prod',
  forward: (x) => reduce(x, dims, false, (values) => values.reduce((a, b) => a * b, 1)),
  savesInputs: () => [0],
  savesOutput: true,
  backward: (grad, { inputs: [given] }) => {
    const x = given as NdArray;
    const out = NdArray.full(x.shape, 0);
    groups(x.shape, dims).forEach((group, n) => {
      for (const i of group) {
        const others = group.filter((j) => j !== i).map((j) => x.data[j] as number);
        out.data[i] = others.reduce((a, b) => a * b, grad.data[n] as number);
      }
    });
    return [() => out];
  },
});

// ---- softmax and losses

/** `fn` of each row along `dim`: the new row from the old one. */
function alongDim(
  x: NdArray,
  dim: number,
  fn: (row: number[], group: readonly number[]) => number[],
): NdArray {
  const out = NdArray.full(x.shape, 0);
  for (const group of groups(x.shape, [dim])) {
    const row = fn(
      group.map((i) => x.data[i] as number),
      group,
    );
    group.forEach((i, k) => (out.data[i] = row[k] as number));
  }
  return out;
}

const logSoftmaxRow = (row: number[]): number[] => {
  const largest = Math.max(...row);
  const log = Math.log(total(row.map((v) => Math.exp(v - largest))));
  return row.map((v) => v - largest - log);
};

export const softmax = (dim: number): Formula => ({
  name: 'softmax',
  forward: (x) => alongDim(x, dim, (row) => logSoftmaxRow(row).map(Math.exp)),
  savesOutput: true,
  backward: (grad, { output }) => {
    const y = output as NdArray;
    return [
      () =>
        alongDim(grad, dim, (row, group) => {
          const dot = total(row.map((g, k) => g * (y.data[group[k] as number] as number)));
          return row.map((g, k) => (g - dot) * (y.data[group[k] as number] as number));
        }),
    ];
  },
});

export const logSoftmax = (dim: number): Formula => ({
  name: 'logSoftmax',
  forward: (x) => alongDim(x, dim, logSoftmaxRow),
  savesOutput: true,
  backward: (grad, { output }) => {
    const y = output as NdArray;
    return [
      () =>
        alongDim(grad, dim, (row, group) =>
          row.map((g, k) => g - total(row) * Math.exp(y.data[group[k] as number] as number)),
        ),
    ];
  },
});

export type Reduction = 'none' | 'mean' | 'sum';

/**
 * A loss of two inputs: elementwise `value`, with the derivative by the first input (that by the second is
 * its negative if `odd`).
 */
function pairLoss(
  name: string,
  reduction: Reduction,
  value: (x: number, y: number) => number,
  slopes: readonly [(x: number, y: number) => number, (x: number, y: number) => number],
  saves: Partial<Formula>,
): Formula {
  return {
    name,
    ...(reduction === 'none' && { layout: 'pointwise' as const }),
    forward: (a, b) => {
      if (broadcastShape(a.shape, b.shape) === null) throw new Refused('shape');
      const all = zip(value, a, b);
      if (reduction === 'none') return all;
      const sum = total([...all.data]);
      return NdArray.full([], reduction === 'mean' ? sum / all.data.length : sum);
    },
    backward: (grad, { inputs: [a, b], shapes }) => {
      const shape = broadcastShape(...shapes) as number[];
      const scale = reduction === 'mean' ? 1 / numel(shape) : 1;
      return slopes.map((slope, i) => () => {
        const local = zip((x, y) => scale * slope(x, y), a as NdArray, b as NdArray);
        return sumTo(mul(local, grad), shapes[i] as Shape);
      });
    },
    ...saves,
  };
}

export const mseLoss = (reduction: Reduction): Formula =>
  pairLoss('mseLoss', reduction, (x, y) => (x - y) ** 2, [(x, y) => 2 * (x - y), (x, y) => 2 * (y - x)], {
    savesInputs: () => [0, 1],
  });

/** `|x - y|` of a difference that PyTorch makes first: of the program's tensors it saves none. */
export const l1Loss = (reduction: Reduction): Formula => {
  let difference: NdArray;
  const loss = pairLoss(
    'l1Loss',
    reduction,
    (x, y) => Math.abs(x - y),
    [(x) => Math.sign(x), (x) => -Math.sign(x)],
    {},
  );
  return {
    ...loss,
    savesOther: true,
    margin: (a, b) =>
      distance(
        zip((x, y) => x - y, a, b),
        [0],
      ),
    forward: (a, b) => {
      const result = loss.forward(a, b);
      difference = zip((x, y) => x - y, a, b);
      return result;
    },
    backward: (grad, saved) => loss.backward(grad, { ...saved, inputs: [difference, difference] }),
  };
};

export const bceWithLogits = (reduction: Reduction): Formula =>
  pairLoss(
    'binaryCrossEntropyWithLogits',
    reduction,
    (x, y) => (1 - y) * x + Math.log1p(Math.exp(-x)),
    [(x, y) => sigmoid(x) - y, (x) => -x],
    { savesInputs: () => [0, 1] },
  );

/** Negative log likelihood of class indices; input [N, C] or [C]. */
export const nllLoss = (target: readonly number[], reduction: Reduction): Formula => {
  const picked = (classes: number): number[] => target.map((label, n) => n * classes + label);
  const scale = reduction === 'mean' ? 1 / target.length : 1;
  return {
    name: 'nllLoss',
    forward: (x) => {
      const values = picked(x.shape[x.shape.length - 1] as number).map((i) => -(x.data[i] as number));
      if (reduction === 'none') return new NdArray(x.shape.slice(0, -1), Float64Array.from(values));
      return NdArray.full([], scale * total(values));
    },
    savesInputs: () => [0],
    backward: (grad, { shapes }) => {
      const shape = shapes[0] as Shape;
      const out = NdArray.full(shape, 0);
      picked(shape[shape.length - 1] as number).forEach((i, n) => {
        out.data[i] = -scale * (grad.data[reduction === 'none' ? n : 0] as number);
      });
      return [() => out];
    },
  };
};

/** PyTorch computes `logSoftmax` first and saves its result, not the logits. */
export const crossEntropy = (target: readonly number[], reduction: Reduction): Formula => {
  const nll = nllLoss(target, reduction);
  let logs: NdArray;
  return {
    ...nll,
    name: 'crossEntropy',
    forward: (x) => nll.forward((logs = logSoftmax(x.shape.length - 1).forward(x))),
    savesInputs: () => [],
    savesOther: true,
    backward: (grad, saved) => {
      const [inner] = nll.backward(grad, { ...saved, inputs: [logs] });
      const dim = logs.shape.length - 1;
      return logSoftmax(dim).backward((inner as () => NdArray)(), { ...saved, inputs: [], output: logs });
    },
  };
};

// ---- matrices, joining, indexing

/** Products of vectors, matrices and batches of matrices of equal count. */
export const matmul: Formula = {
  name: 'matmul',
  forward: (a, b) => {
    const plan = planMatmul(a.shape, b.shape);
    if (plan === null) throw new Refused('shape');
    const { batch, m, k, n, shape } = plan;
    return new NdArray(shape, product(a.data, b.data, batch, m, k, n, false, false));
  },
  savesInputs: savesOther,
  backward: (grad, { inputs: [a, b], shapes: [shapeA, shapeB] }) => {
    const { batch, m, k, n } = planMatmul(shapeA as Shape, shapeB as Shape) as MatmulPlan;
    return [
      () =>
        new NdArray(shapeA as Shape, product(grad.data, (b as NdArray).data, batch, m, n, k, false, true)),
      () =>
        new NdArray(shapeB as Shape, product((a as NdArray).data, grad.data, batch, k, m, n, true, false)),
    ];
  },
};

interface MatmulPlan {
  readonly batch: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly shape: Shape;
}

function planMatmul(a: Shape, b: Shape): MatmulPlan | null {
  if (a.length === 0 || b.length === 0 || a.length > 3 || b.length > 3) return null;
  if ((a.length === 3 || b.length === 3) && (a.length !== b.length || a[0] !== b[0])) return null;
  const batch = a.length === 3 ? (a[0] as number) : 1;
  const [m, k] = a.length === 1 ? [1, a[0] as number] : (a.slice(-2) as [number, number]);
  const [inner, n] = b.length === 1 ? [b[0] as number, 1] : (b.slice(-2) as [number, number]);
  if (k !== inner) return null;
  const shape = [
    ...(a.length === 3 ? [batch] : []),
    ...(a.length === 1 ? [] : [m]),
    ...(b.length === 1 ? [] : [n]),
  ];
  return { batch, m, k, n, shape };
}

/** Batched `m x k` times `k x n`; an operand that is flagged is stored transposed. */
function product(
  a: Float64Array,
  b: Float64Array,
  batch: number,
  m: number,
  k: number,
  n: number,
  transposeA: boolean,
  transposeB: boolean,
): Float64Array {
  const out = new Float64Array(batch * m * n);
  for (let s = 0; s < batch; s++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++)
        for (let l = 0; l < k; l++) {
          const left = a[s * m * k + (transposeA ? l * m + i : i * k + l)] as number;
          const right = b[s * k * n + (transposeB ? j * k + l : l * n + j)] as number;
          out[(s * m + i) * n + j] = (out[(s * m + i) * n + j] as number) + left * right;
        }
  return out;
}

/** `table[i]` says which element of input `table[i][0]` comes to place `i` of the result. */
function pick(
  name: string,
  shape: (shapes: readonly Shape[]) => number[],
  from: (
    shapes: readonly Shape[],
    place: readonly number[],
  ) => readonly [input: number, at: readonly number[]],
  savesIndex: boolean,
): Formula {
  const plan = (shapes: readonly Shape[]): (readonly [number, number])[] => {
    const out = shape(shapes);
    return indices(out).map((place) => {
      const [input, at] = from(shapes, place);
      const strides = rowMajor(shapes[input] as Shape);
      return [input, at.reduce((sum, index, d) => sum + index * (strides[d] as number), 0)] as const;
    });
  };
  return {
    name,
    forward: (...inputs) => {
      const shapes = inputs.map((x) => x.shape);
      const values = plan(shapes).map(([input, at]) => inputs[input]?.data[at] as number);
      return new NdArray(shape(shapes), Float64Array.from(values));
    },
    savesOther: savesIndex,
    backward: (grad, { shapes }) =>
      shapes.map((wanted, n) => () => {
        const out = NdArray.full(wanted, 0);
        plan(shapes).forEach(([input, at], i) => {
          if (input === n) out.data[at] = (out.data[at] as number) + (grad.data[i] as number);
        });
        return out;
      }),
  };
}

/** All index tuples of a shape, row-major. */
function indices(shape: Shape): number[][] {
  const strides = rowMajor(shape);
  return positions(shape, strides, 0).map((at) =>
    shape.map((size, d) => Math.floor(at / (strides[d] as number)) % size),
  );
}

const replaced = (list: readonly number[], d: number, value: number): number[] =>
  list.map((x, i) => (i === d ? value : x));

export const cat = (dim: number): Formula =>
  pick(
    'cat',
    (shapes) => replaced(shapes[0] as Shape, dim, total(shapes.map((shape) => shape[dim] as number))),
    (shapes, place) => {
      let at = place[dim] as number;
      let input = 0;
      for (; at >= (shapes[input]?.[dim] as number); input++) at -= shapes[input]?.[dim] as number;
      return [input, replaced(place, dim, at)];
    },
    false,
  );

export const stack = (dim: number): Formula =>
  pick(
    'stack',
    (shapes) => {
      const [first] = shapes as [Shape];
      return [...first.slice(0, dim), shapes.length, ...first.slice(dim)];
    },
    (_, place) => [place[dim] as number, place.filter((_index, d) => d !== dim)],
    false,
  );

export const indexSelect = (dim: number, index: readonly number[]): Formula =>
  pick(
    'indexSelect',
    (shapes) => replaced(shapes[0] as Shape, dim, index.length),
    (_, place) => [0, replaced(place, dim, index[place[dim] as number] as number)],
    true,
  );

/** `index` row-major, of shape `shape`. */
export const gather = (dim: number, index: readonly number[], shape: Shape): Formula => {
  const strides = rowMajor(shape);
  const picked = pick(
    'gather',
    () => [...shape],
    (_, place) => {
      const at = place.reduce((sum, i, d) => sum + i * (strides[d] as number), 0);
      return [0, replaced(place, dim, index[at] as number)];
    },
    true,
  );
  // PyTorch saves the input, though only for its shape.
  return { ...picked, savesInputs: () => [0] };
};
