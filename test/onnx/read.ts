/** ONNX files as the tests look at them, by another reader than what wrote them. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

const text = readFileSync(new URL('./onnx.proto', import.meta.url), 'utf8');
const model = protobuf.parse(text).root.lookupType('onnx.ModelProto');

interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly ints?: readonly number[];
  readonly strings?: readonly Uint8Array[];
}
interface Node {
  readonly name: string;
  readonly opType: string;
  readonly input?: readonly string[];
  readonly output: readonly string[];
  readonly attribute?: readonly Attribute[];
}
interface Initializer {
  readonly name: string;
  readonly dims?: readonly number[];
  readonly dataType: number;
  readonly rawData: Uint8Array;
  readonly externalData?: readonly { readonly key: string; readonly value: string }[];
  readonly dataLocation?: number;
}
interface Info {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim?: readonly { dimValue?: number; dimParam?: string }[] };
    };
  };
}
interface Place {
  readonly location?: string;
  readonly offset?: string;
  readonly length?: string;
}
export interface Model {
  readonly irVersion: number;
  readonly producerName: string;
  readonly graph: {
    readonly name: string;
    readonly node: readonly Node[];
    readonly initializer?: readonly Initializer[];
    readonly input: readonly Info[];
    readonly output: readonly Info[];
  };
  readonly opsetImport: readonly { readonly domain?: string; readonly version: number }[];
  readonly metadataProps?: readonly { readonly key: string; readonly value: string }[];
}

export const readModel = (bytes: Uint8Array): Model =>
  model.toObject(model.decode(bytes), { longs: Number }) as unknown as Model;

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

function shown({ name, type, f, i, s, ints, strings }: Attribute): string {
  const values: Readonly<Record<number, unknown>> = {
    1: f === undefined ? 0 : Number(f.toPrecision(6)),
    2: i ?? 0,
    3: s && utf8(s),
    7: `[${ints?.join() ?? ''}]`,
    8: `[${strings?.map(utf8).join() ?? ''}]`,
  };
  return `${name}=${String(values[type])}`;
}

/** A line per node: `result = Op(operands) attributes`. */
export const nodesOf = ({ graph }: Model): string[] =>
  graph.node.map(({ opType, input = [], output, attribute = [] }) =>
    [`${output.join(', ')} = ${opType}(${input.join(', ')})`, ...attribute.map(shown)].join(' '),
  );

const elementTypes: Readonly<Record<number, string>> = {
  1: 'float32',
  2: 'uint8',
  6: 'int32',
  7: 'int64',
  9: 'bool',
  10: 'float16',
};

/** `name: dtype[sizes]` */
export const infoOf = ({ name, type: { tensorType } }: Info): string =>
  `${name}: ${elementTypes[tensorType.elemType]}[${(tensorType.shape.dim ?? []).map(({ dimValue, dimParam }) => dimParam ?? dimValue ?? 0).join()}]`;

/** What an initializer has instead of numbers, if they are in another file. */
export function placeOf({ externalData, dataLocation }: Initializer): Place | null {
  if (dataLocation !== 1) return null;
  return Object.fromEntries((externalData ?? []).map(({ key, value }) => [key, value]));
}

/** The numbers of an initializer, which may be in `data`, the bytes of another file. */
export function numbersOf({ graph }: Model, name: string, data?: Uint8Array): number[] {
  const found = graph.initializer?.find((tensor) => tensor.name === name);
  if (found === undefined) throw new Error(`there is no initializer '${name}'`);
  const place = placeOf(found);
  const [start, length] = [Number(place?.offset), Number(place?.length)];
  const { buffer } = Uint8Array.from(place === null ? found.rawData : data!.subarray(start, start + length));
  const kind = elementTypes[found.dataType];
  if (kind === 'int64') return Array.from(new BigInt64Array(buffer), Number);
  if (kind === 'float32') return Array.from(new Float32Array(buffer));
  if (kind === 'int32') return Array.from(new Int32Array(buffer));
  return Array.from(new Uint8Array(buffer));
}
