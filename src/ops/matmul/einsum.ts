import { defineComposite } from '../../autograd/define.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { contractPair, ordered, settle, sumOut, type Label, type Labelled } from './contract.js';
import { diagonal } from '../shape/diagonal.js';

/** Labels of one operand in a list: integers from 0 to 51, and `'...'`. */
export type Sublist = readonly (number | '...')[];

/** Subscripts of the operands, and of the result where they are given. */
interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[] | null;
}

const isLetter = (text: string): boolean => /^[A-Za-z]$/.test(text);

/** The letters and at most one `'...'` of one operand. */
function subscripts(text: string, equation: string): string[] {
  const parts = text.match(/\.\.\.|./g) ?? [];
  if (!parts.every((part) => part === '...' || isLetter(part))) {
    throw new Error(
      `einsum: '${equation}' has a subscript that is no letter; expected letters, one '...' per operand, commas and '->'`,
    );
  }
  if (parts.filter((part) => part === '...').length > 1)
    throw new Error(`einsum: '${equation}' has more than one '...' in an operand`);
  return parts;
}

function parse(equation: string): Equation {
  const sides = equation.replaceAll(' ', '').split('->');
  if (sides.length > 2) throw new Error(`einsum: '${equation}' has more than one '->'`);
  const [left, right] = sides as [string, string?];
  return {
    inputs: left.split(',').map((text) => subscripts(text, equation)),
    output: right === undefined ? null : subscripts(right, equation),
  };
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

function fromSublist(list: Sublist): string[] {
  return list.map((label) => {
    if (label === '...') return label;
    const letter = alphabet[label];
    if (letter === undefined)
      throw new Error(`einsum: label ${label} of a list is not an integer from 0 to 51 or '...'`);
    return letter;
  });
}

/** Dims under `...` have their place from the right as their label. */
function labelsOf(marks: readonly string[], rank: number, shown: string): Label[] {
  const covered = rank - marks.filter((mark) => mark !== '...').length;
  const hasDots = marks.includes('...');
  if (covered < 0 || (covered > 0 && !hasDots)) {
    throw new Error(
      `einsum: the ${marks.length} subscripts '${marks.join('')}' do not fit an operand of shape ${shown}`,
    );
  }
  return marks.flatMap<Label>((mark) =>
    mark === '...' ? Array.from({ length: covered }, (_, i) => covered - 1 - i) : [mark],
  );
}

/** Dims with the same label become their diagonal. */
function withoutRepeats(x: Tensor, labels: readonly Label[]): Labelled {
  for (const [d, label] of labels.entries()) {
    const first = labels.indexOf(label);
    if (first === d) continue;
    if (x.shape[first] !== x.shape[d]) {
      throw new Error(
        `einsum: subscript '${label}' stands for dims of different sizes in one operand of shape ${showShape(x.shape)}`,
      );
    }
    const rest = labels.filter((_, i) => i !== first && i !== d);
    return withoutRepeats(diagonal(x, { dim1: first, dim2: d }), [...rest, label]);
  }
  return { x, labels };
}

/** What explicit subscripts name; without them the dims under `...`, then letters that occur once. */
function outputOf({ inputs, output }: Equation, all: readonly (readonly Label[])[]): Label[] {
  const every = all.flat();
  const covered = every.reduce<number>(
    (n, label) => (typeof label === 'number' ? Math.max(n, label + 1) : n),
    0,
  );
  const dots = Array.from({ length: covered }, (_, i) => covered - 1 - i);
  if (output === null) {
    const letters = inputs.flat().filter((mark) => mark !== '...');
    const once = letters.filter((mark) => letters.indexOf(mark) === letters.lastIndexOf(mark));
    return [...dots, ...once.sort((a, b) => alphabet.indexOf(a) - alphabet.indexOf(b))];
  }
  const labels = output.flatMap<Label>((mark) => (mark === '...' ? dots : [mark]));
  for (const label of labels) {
    if (!every.includes(label))
      throw new Error(`einsum: subscript '${label}' of the result occurs in no operand`);
    if (labels.indexOf(label) !== labels.lastIndexOf(label))
      throw new Error(`einsum: subscript '${label}' occurs twice in the result`);
  }
  return labels;
}

/** Beyond this many operands the order of products is chosen step by step. */
const searched = 8;

/** How a product of several operands is taken apart: an operand, or two parts. */
type Path = number | readonly [Path, Path];

/**
 * The cheapest order of pairwise products, counted in multiplications: by dynamic programming over sets of
 * operands (each set's best order is made of the best orders of two halves).
 */
function cheapest(
  labels: readonly ReadonlySet<Label>[],
  output: readonly Label[],
  sizes: Map<Label, number>,
): Path {
  const n = labels.length;
  const whole = (1 << n) - 1;
  const inSet = (set: number): Label[] => labels.flatMap((own, i) => (set & (1 << i) ? [...own] : []));
  const open = new Map<number, Set<Label>>();
  const openOf = (set: number): Set<Label> => {
    let found = open.get(set);
    if (found === undefined) {
      const outside = new Set([...output, ...inSet(whole & ~set)]);
      const single = (set & (set - 1)) === 0;
      open.set(set, (found = new Set(inSet(set).filter((label) => single || outside.has(label)))));
    }
    return found;
  };
  const best: { cost: number; path: Path }[] = [];
  for (let set = 1; set <= whole; set++) {
    const single = labels.findIndex((_, i) => set === 1 << i);
    if (single >= 0) {
      best[set] = { cost: 0, path: single };
      continue;
    }
    let found = { cost: Infinity, path: 0 as Path };
    for (let half = (set - 1) & set; half > (set ^ half); half = (half - 1) & set) {
      const [a, b] = [
        best[half] as { cost: number; path: Path },
        best[set ^ half] as { cost: number; path: Path },
      ];
      let work = 1;
      for (const label of new Set([...openOf(half), ...openOf(set ^ half)]))
        work *= sizes.get(label) as number;
      const cost = a.cost + b.cost + work;
      // The operands of a product stay in their order.
      if (cost < found.cost)
        found = { cost, path: half & -half & (set & -set) ? [a.path, b.path] : [b.path, a.path] };
    }
    best[set] = found;
  }
  return (best[whole] as { path: Path }).path;
}

function contracted(
  terms: readonly Labelled[],
  output: readonly Label[],
  sizes: Map<Label, number>,
): Labelled {
  let rest = terms;
  // Of very many operands the first are multiplied as they come.
  while (rest.length > searched) {
    const [a, b, ...others] = rest as [Labelled, Labelled, ...Labelled[]];
    rest = [contractPair(a, b, new Set([...output, ...others.flatMap(({ labels }) => labels)])), ...others];
  }
  const path = cheapest(
    rest.map(({ labels }) => new Set(labels)),
    output,
    sizes,
  );
  const operandsOf = (at: Path): number[] => (typeof at === 'number' ? [at] : at.flatMap(operandsOf));
  const run = (at: Path): Labelled => {
    if (typeof at === 'number') return rest[at] as Labelled;
    const own = operandsOf(at);
    const outside = rest.flatMap(({ labels }, i) => (own.includes(i) ? [] : labels));
    return contractPair(run(at[0]), run(at[1]), new Set([...output, ...outside]));
  };
  return run(path);
}

type EinsumArgs =
  | [equation: string, operands: readonly Tensor[]]
  | [equation: string, ...operands: Tensor[]]
  | [operands: readonly Tensor[], equation: string]
  | [...operandsAndSublists: (Tensor | Sublist)[]];

/** Operands and equation, however they were given. */
function readArguments(args: readonly unknown[]): [Equation, Tensor[]] {
  const texts = args.filter((arg) => typeof arg === 'string');
  const text = texts[0];
  let equation: Equation;
  let operands: unknown[];
  if (text !== undefined && texts.length === 1) {
    equation = parse(text);
    operands = args.filter((arg) => arg !== text).flat();
  } else {
    // Operand, its labels, operand, its labels, and perhaps the labels of the result.
    operands = args.filter((_, i) => i % 2 === 0 && i < args.length - (args.length % 2));
    const lists = args.filter((_, i) => i % 2 === 1 || i >= args.length - (args.length % 2));
    if (texts.length > 0 || !lists.every(Array.isArray))
      throw new Error(
        'einsum: expected an equation and tensors, or tensors each followed by a list of labels',
      );
    const marks = (lists as Sublist[]).map(fromSublist);
    equation = {
      inputs: marks.slice(0, operands.length),
      output: args.length % 2 === 1 ? (marks[operands.length] as string[]) : null,
    };
  }
  if (operands.length === 0 || !operands.every(isTensor))
    throw new Error('einsum: expected one tensor per operand of the equation');
  if (operands.length !== equation.inputs.length) {
    throw new Error(
      `einsum: the equation has ${equation.inputs.length} operands, got ${operands.length} tensors`,
    );
  }
  return [equation, operands];
}

/**
 * `torch.einsum(equation, ...operands)`: products of elements, summed over every subscript that the result
 * has not: `einsum('bij,bjk->bik', a, b)`. As in PyTorch: one letter per dim, `...` for dims without a letter
 * (they broadcast), a repeated letter takes the diagonal, sizes of 1 broadcast, and without `->` the result
 * has the letters that occur once in alphabetical order. Operands may come in an array, before or behind the
 * equation, or each with a list of labels instead of an equation: `einsum(a, [0, 1], b, [1, 2], [0, 2])`.
 *
 * Three or more operands are multiplied in the order that needs the fewest multiplications. Integers and bool
 * give int32, exactly; a single operand that is only rearranged gives a view.
 *
 * @throws Error for an equation that does not fit the operands
 */
export const einsum: (...args: EinsumArgs) => Tensor = defineComposite(
  'einsum',
  (...args: EinsumArgs): Tensor => {
    const [equation, operands] = readArguments(args);
    const all = equation.inputs.map((marks, i) => {
      const { ndim, shape } = operands[i] as Tensor;
      return labelsOf(marks, ndim, showShape(shape));
    });
    const output = outputOf(equation, all);
    const [terms, sizes] = settle(
      'einsum',
      all.map((labels, i) => withoutRepeats(operands[i] as Tensor, labels)),
    );
    return ordered(sumOut(contracted(terms, output, sizes), new Set(output)), output);
  },
);
