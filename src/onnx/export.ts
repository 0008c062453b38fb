import type { Module } from '../nn/base/module.js';
import { isModule } from '../nn/base/call.js';
import { noMore, readOptions } from '../tensor/options.js';
import { numel, showShape } from '../tensor/shape.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { assemble, type Assembled } from './assemble.js';
import { Traces, type Axis } from './dynamic.js';
import type { Graph } from './graph.js';
import { bytesOf, Numbers } from './numbers.js';
import { encodeModel, type ExternalData, type TensorProto } from './proto.js';
import { findRow } from './rows/index.js';
import { trace } from './trace.js';

/** Axes whose sizes are not fixed: by name, or their numbers alone. */
export type DynamicAxes = Readonly<Record<string, Readonly<Record<number, string>> | readonly number[]>>;

export interface ExportOnnxOptions {
  /** Default: `input`, or `input_0`, `input_1`, ... */
  inputNames?: readonly string[];
  /** Default: the keys of the object that the forward returns, or `output`, or `output_0`, ... */
  outputNames?: readonly string[];
  /**
   * The axes of inputs that may have any size: `{ input: { 0: 'batch', 1: 'length' } }`. Axes of one name are
   * of one size. Outputs may be listed too; what follows is noted in any case.
   */
  dynamicAxes?: DynamicAxes;
  /** Axis 0 of every input may have any size, called `batch`. Default false. */
  dynamicBatch?: boolean;
  /** The version of ONNX's operator set, 17 to 21. Default 17. */
  opsetVersion?: number;
  /** Strings beside the graph (`metadata_props`). */
  metadata?: Readonly<Record<string, string>>;
}

const least = 17;
const most = 21;
/** Of the release that brought an operator set (https://onnx.ai/onnx/repo-docs/Versioning.html). */
const irVersions: Readonly<Record<number, number>> = { 17: 8, 18: 8, 19: 9, 20: 9, 21: 10 };

/** A protobuf message may have 2 GiB; some of that is for the graph. */
const mostBytes = 2 ** 31 - 2 ** 24;

/** Weights of fewer bytes stay in the message: tools look at them to learn shapes. */
const leastOutside = 1024;
/** Numbers begin at pages of memory, so that readers can map the file. */
const pageBytes = 4096;

type Read = Required<ExportOnnxOptions>;

/**
 * `torch.onnx.export`: the model's forward in evaluation mode as an ONNX model
 * (https://onnx.ai/onnx/intro/concepts.html), for onnxruntime and what else reads the format. The forward
 * runs once on tensors of the examples' shapes and dtypes, not on their values, and each op becomes one node
 * or a few; weights keep their names in the state dict. float16 stays half precision, and int32 is int32.
 *
 * What the forward decides in JavaScript is decided at the export: a graph has no conditions, and the file
 * does what the model did on the examples, as `torch.onnx.export` says of its traces. Sizes are those of the
 * examples, except of axes that are declared dynamic. For these the forward runs at two sizes more, and with
 * a batch of 259 or so where that takes up to 64 MiB; code that turns off at other sizes (`if (x.size(1) >
 * 100)`) goes unnoticed into the file: try it at the sizes that it will be used with.
 *
 * @param exampleInputs the tensors that `model` is called with
 * @returns the bytes of a ModelProto
 * @throws Error naming the op and the module where an op has no counterpart in ONNX; where a tensor from
 *   outside of the forward is written in place, or one depends on chance; where what is computed changes with
 *   a dynamic axis; for models of about 2 GB and more (`saveOnnx` writes them). Modes of the modules are as
 *   before then too.
 */
export async function exportOnnx(
  model: Module,
  exampleInputs: Tensor | readonly Tensor[],
  options: ExportOnnxOptions = {},
): Promise<Uint8Array> {
  noMore('exportOnnx', arguments, 3);
  const exported = follow(model, exampleInputs, options);
  if (exported.isLarge)
    throw new Error(
      `exportOnnx: ${model.constructor.name} has ${(exported.bytes / 1e9).toFixed(1)} GB of weights, and an ONNX file of one ` +
        'piece may have 2 GB. saveOnnx (kindling/node) writes weights into a file beside it; or convert the model to float16 ' +
        '(model.half()), or export its parts',
    );
  return exported.whole();
}

/** A model as nodes, its weights not read yet. */
export interface Exported {
  /** Of all weights. */
  readonly bytes: number;
  /** One message cannot hold it. */
  readonly isLarge: boolean;
  /** One ModelProto. */
  whole(): Promise<Uint8Array>;
  /** A ModelProto whose weights are in another file of its folder, called `location`, and that file. */
  apart(location: string): Promise<Apart>;
}

export interface Apart {
  readonly model: Uint8Array;
  readonly data: {
    /** In bytes. */
    readonly size: number;
    /** The file's bytes in order. Each weight is read as its turn comes. */
    chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  };
}

/** @internal What {@link exportOnnx} does, up to the bytes. @throws Error as it does, but for large models */
export function follow(
  model: Module,
  exampleInputs: Tensor | readonly Tensor[],
  options: ExportOnnxOptions,
): Exported {
  const read = readOptions<Read>(
    'exportOnnx',
    {
      inputNames: [],
      outputNames: [],
      dynamicAxes: {},
      dynamicBatch: false,
      opsetVersion: least,
      metadata: {},
    },
    options,
  );
  if (!isModule(model)) throw new Error(`exportOnnx: expected a module, got ${String(model)}`);
  const { opsetVersion } = read;
  if (!Number.isInteger(opsetVersion) || opsetVersion < least || opsetVersion > most)
    throw new Error(`exportOnnx: opsetVersion must be ${least} to ${most}, got ${String(opsetVersion)}`);
  checkMetadata(read.metadata);
  const examples = examplesOf(exampleInputs);
  const inputNames = namesOf('inputNames', read.inputNames, examples.length, 'input');
  const axes = axesOf(read, examples, inputNames);

  const run = (longer: Axis | null, to = 0): Graph => {
    const inputs = examples.map(({ shape, dtype }, input) => ({
      dtype,
      shape: shape.map((size, at) => {
        const axis = axes.find(({ places }) => places.some((p) => p.input === input && p.axis === at));
        return axis === undefined ? size : axis === longer ? to : axis.size;
      }),
    }));
    try {
      return trace({ rows: findRow, opset: opsetVersion, model, inputs });
    } catch (error) {
      if (axes.length === 0 || !(error instanceof Error) || error.message.startsWith('exportOnnx: '))
        throw error;
      const shapes = inputs.map(({ shape }) => showShape(shape)).join(', ');
      throw new Error(
        `exportOnnx: for dynamicAxes the model must run on ${shapes}, and it does not: ${error.message}`,
        {
          cause: error,
        },
      );
    }
  };
  const first = run(null);
  const others = axes.flatMap((axis) => axis.longer.map((to) => run(axis, to)));
  const traces = new Traces(axes, [first, ...others]);
  for (const axis of axes) tryFar(traces, first, axis, run);
  const given = first.outputs.map(({ name }) => name);
  const outputNames = given.every((name) => name !== null)
    ? namesOf('outputNames', read.outputNames, given.length, '', given)
    : namesOf('outputNames', read.outputNames, given.length, 'output');
  const clash = outputNames.find((name) => inputNames.includes(name));
  if (clash !== undefined)
    throw new Error(`exportOnnx: '${clash}' names an input and an output; give inputNames or outputNames`);
  const assembled = assemble(first, traces, inputNames, outputNames);
  checkOutputAxes(read.dynamicAxes, assembled, inputNames);
  const weights = assembled.weights.map((weight) => new Numbers(weight));
  const integers: TensorProto[] = assembled.integers.map(({ name, values }) => ({
    name,
    dtype: 'int64',
    dims: [values.length],
    raw: bytesOf(BigInt64Array.from(values, BigInt)),
  }));
  const bytes = weights.reduce((sum, weight) => sum + weight.bytes, 0);
  const encoded = (initializers: readonly TensorProto[]): Uint8Array =>
    encodeModel({
      irVersion: irVersions[opsetVersion] as number,
      opset: opsetVersion,
      name: model.constructor.name,
      nodes: assembled.nodes,
      initializers: [...integers, ...initializers],
      inputs: assembled.inputs,
      outputs: assembled.outputs,
      metadata: read.metadata,
    });
  return {
    bytes,
    isLarge: bytes > mostBytes,
    whole: async () => {
      const initializers: TensorProto[] = [];
      for (const weight of weights) initializers.push(weight.proto(await weight.read()));
      return encoded(initializers);
    },
    apart: async (location) => {
      const outside: (readonly [Numbers, ExternalData])[] = [];
      const initializers: TensorProto[] = [];
      let size = 0;
      for (const weight of weights) {
        if (weight.bytes < leastOutside) {
          initializers.push(weight.proto(await weight.read()));
          continue;
        }
        const place = { location, offset: Math.ceil(size / pageBytes) * pageBytes, length: weight.bytes };
        size = place.offset + place.length;
        outside.push([weight, place]);
        initializers.push(weight.proto(place));
      }
      return { model: encoded(initializers), data: { size, chunks: () => chunksOf(outside) } };
    },
  };
}

async function* chunksOf(
  outside: readonly (readonly [Numbers, ExternalData])[],
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = 0;
  for (const [weight, { offset, length }] of outside) {
    if (offset > at) yield new Uint8Array(offset - at);
    yield await weight.read();
    at = offset + length;
  }
}

/** A batch that is large, for code which treats such ones in another way. */
const farBatch = 257;
/** Bytes of results that such a trace may take; larger models are not tried at that size. */
const mostTried = 2 ** 26;

/**
 * Traces a small model once more, with a large batch. What it then does otherwise is an error; that it does
 * not run is none, as there may be a limit to the size.
 */
function tryFar(traces: Traces, first: Graph, axis: Axis, run: (longer: Axis, to: number) => Graph): void {
  if (!axis.places.every((place) => place.axis === 0)) return;
  const to = axis.size + farBatch;
  const results = first.nodes.flatMap((node) => node.results).concat(first.inputs);
  const bytes = results.reduce((sum, { shape }) => sum + 4 * numel(shape ?? []), 0);
  if ((bytes / axis.size) * to > mostTried) return;
  let graph: Graph;
  try {
    graph = run(axis, to);
  } catch {
    return;
  }
  traces.checkAt(first, graph, axis, to);
}

function examplesOf(given: Tensor | readonly Tensor[]): readonly Tensor[] {
  const list = isTensor(given) ? [given] : given;
  if (!Array.isArray(list) || list.length === 0 || !list.every(isTensor))
    throw new Error(
      'exportOnnx: expected an example input, a tensor or a list of tensors as the model is called with',
    );
  if (list.some((x: Tensor) => x.numel() === 0))
    throw new Error('exportOnnx: an example input is empty; give one with at least one element');
  return list as readonly Tensor[];
}

function namesOf(
  option: string,
  given: readonly string[],
  count: number,
  base: string,
  otherwise?: readonly string[],
): readonly string[] {
  if (!Array.isArray(given) || !given.every((name) => typeof name === 'string' && name !== ''))
    throw new Error(`exportOnnx: ${option} must be a list of strings`);
  if (given.length === 0)
    return otherwise ?? (count === 1 ? [base] : Array.from({ length: count }, (_, i) => `${base}_${i}`));
  if (given.length !== count || new Set(given).size !== count)
    throw new Error(
      `exportOnnx: ${option} must be ${count} different name${count === 1 ? '' : 's'}, got ${given.join(', ')}`,
    );
  return given;
}

function checkMetadata(metadata: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string')
      throw new Error(`exportOnnx: metadata '${key}' must be a string, got ${typeof value}`);
}

const entriesOf = (axes: DynamicAxes[string], of: string): [axis: number, name: string][] =>
  Array.isArray(axes)
    ? (axes as readonly number[]).map((axis) => [axis, `${of}_dynamic_axes_${axis}`])
    : Object.entries(axes as Readonly<Record<string, string>>).map(([axis, name]) => [Number(axis), name]);

function axesOf(
  { dynamicAxes, dynamicBatch }: Read,
  examples: readonly Tensor[],
  inputNames: readonly string[],
): Axis[] {
  const found = new Map<string, { input: number; axis: number }[]>();
  const add = (name: string, input: number, axis: number): void => {
    const places = found.get(name) ?? [];
    found.set(name, places);
    if (![...found.values()].flat().some((p) => p.input === input && p.axis === axis))
      places.push({ input, axis });
  };
  inputNames.forEach((name, input) => {
    const { ndim } = examples[input] as Tensor;
    const declared = Object.hasOwn(dynamicAxes, name) ? entriesOf(dynamicAxes[name] ?? [], name) : [];
    for (const [axis, label] of declared) {
      if (!Number.isInteger(axis) || axis < 0 || axis >= ndim || typeof label !== 'string' || label === '')
        throw new Error(
          `exportOnnx: dynamicAxes of '${name}' must name axes 0 to ${ndim - 1}, got ${axis}: ${String(label)}`,
        );
      add(label, input, axis);
    }
    if (dynamicBatch && ndim > 0) add('batch', input, 0);
  });
  return [...found]
    .filter(([, places]) => places.length > 0)
    .map(([name, places]) => {
      const sizes = places.map(({ input, axis }) => (examples[input] as Tensor).shape[axis] as number);
      if (new Set(sizes).size > 1)
        throw new Error(
          `exportOnnx: the axes called '${name}' have different sizes in the examples: ${sizes.join(', ')}`,
        );
      const [given] = sizes as [number];
      // One alone is treated apart by many ops; large sizes are halved again and again by strides.
      const size = Math.max(2, given);
      const batch = places.every(({ axis }) => axis === 0);
      const step = batch || size < 32 ? 1 : 32;
      return { name, places, size, longer: [size + step, size + 4 * step] };
    });
}

/** What is said of outputs must be so; other names are those of no input or output. */
function checkOutputAxes(
  dynamicAxes: DynamicAxes,
  { outputs }: Assembled,
  inputNames: readonly string[],
): void {
  for (const [of, axes] of Object.entries(dynamicAxes)) {
    if (inputNames.includes(of)) continue;
    const output = outputs.find(({ name }) => name === of);
    if (output === undefined)
      throw new Error(
        `exportOnnx: dynamicAxes names '${of}', which is no input or output (${[...inputNames, ...outputs.map(({ name }) => name)].join(', ')})`,
      );
    for (const [axis, name] of entriesOf(axes, of)) {
      const dim = output.dims[axis];
      if (typeof dim !== 'string' || (!Array.isArray(axes) && dim !== name))
        throw new Error(
          `exportOnnx: dynamicAxes calls axis ${axis} of '${of}' '${name}', but it is ${String(dim)}, as follows from the inputs`,
        );
    }
  }
}
