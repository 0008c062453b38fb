import { assign, type HostTensorLike } from '../nn/base/state-dict.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';

/** Lists are LBFGS's history. */
export type StateValue = Tensor | number | (Tensor | number)[];
/** A parameter's state under PyTorch's names. */
export type ParamState = Record<string, StateValue>;

/** @internal The same state in handles of its own. */
export function sharedState(state: ParamState): ParamState {
  const share = <V>(value: V): V | Tensor => (isTensor(value) ? value.alias() : value);
  return Object.fromEntries(
    Object.entries(state).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(share) : share(value),
    ]),
  );
}

/** @internal Frees a parameter's state. */
export function disposeState(state: ParamState): void {
  for (const value of Object.values(state))
    for (const item of [value].flat()) if (isTensor(item)) item.dispose();
}

/** What an optimizer keeps for a parameter, by name. */
export interface StateLayout {
  /** null for a number */
  shapeOf(name: string, parameter: Tensor): Shape | null;
  blank(name: string, parameter: Tensor): Tensor;
}

/** An optimizer's state dict, checked and read. */
export interface LoadedState {
  readonly state: ReadonlyMap<Tensor, ParamState>;
  /** Options of each group under PyTorch's names. */
  readonly groups: readonly ReadonlyMap<string, unknown>[];
}

/** Python dicts come as Maps or as objects. */
function asMap(what: string, value: unknown): ReadonlyMap<string, unknown> {
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [String(key), item as unknown]));
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return new Map(Object.entries(value));
  throw new Error(`${what} is not a dict`);
}

function asList(what: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${what} is not a list`);
  return value;
}

type Saved = Tensor | HostTensorLike | number;

const isHostTensor = (value: unknown): value is HostTensorLike =>
  typeof value === 'object' && value !== null && Array.isArray((value as { shape?: unknown }).shape);

async function numbersOf(value: Tensor | HostTensorLike): Promise<ArrayLike<number>> {
  if (isTensor(value)) return value.data();
  return 'data' in value ? value.data : value.toFloat32Array();
}

/** @internal */
export async function readState(
  optimizer: string,
  dict: unknown,
  groups: readonly { readonly params: readonly Tensor[] }[],
  layout: StateLayout,
): Promise<LoadedState> {
  const at = `${optimizer}.loadStateDict: `;
  const top = asMap(`${at}the state dict`, dict);
  const saved = asMap(`${at}'state'`, top.get('state'));
  const savedGroups = asList(`${at}'param_groups'`, top.get('param_groups')).map((group) =>
    asMap(`${at}a group`, group),
  );
  if (savedGroups.length !== groups.length) {
    throw new Error(
      `${at}the state dict has ${savedGroups.length} parameter groups, this optimizer has ${groups.length}`,
    );
  }
  const jobs: { parameter: Tensor; name: string; value: Saved | Saved[] }[] = [];
  const problems: string[] = [];
  groups.forEach(({ params }, i) => {
    const numbers = asList(`${at}'params' of group ${i}`, savedGroups[i]?.get('params'));
    if (numbers.length !== params.length) {
      throw new Error(
        `${at}group ${i} has ${numbers.length} parameters in the state dict and ${params.length} here`,
      );
    }
    params.forEach((parameter, k) => {
      const entry = saved.get(String(numbers[k]));
      if (entry === undefined) return;
      for (const [name, value] of asMap(`${at}the state of parameter ${k}`, entry)) {
        // PyTorch's LBFGS saves a scratch list of Nones.
        if (value === null || value === undefined || (Array.isArray(value) && value.includes(null))) continue;
        const want = layout.shapeOf(name, parameter);
        for (const item of [value].flat() as unknown[]) {
          const problem = misfit(item, want);
          if (problem !== null) problems.push(`${name} of parameter ${k} ${problem}`);
        }
        jobs.push({ parameter, name, value: value as Saved | Saved[] });
      }
    });
  });
  if (problems.length > 0) throw new Error(`${at}${problems.join('; ')}`);
  const state = new Map<Tensor, ParamState>();
  for (const { parameter, name, value } of jobs) {
    const read = async (item: Saved): Promise<Tensor | number> => {
      if (typeof item === 'number') return item;
      if (layout.shapeOf(name, parameter) === null) return (await numbersOf(item))[0] ?? 0;
      const target = layout.blank(name, parameter);
      assign(target, isTensor(item) ? item : { shape: item.shape, data: await numbersOf(item) });
      return target;
    };
    let own = state.get(parameter);
    if (own === undefined) state.set(parameter, (own = {}));
    if (Array.isArray(value)) {
      const list: (Tensor | number)[] = [];
      for (const item of value) list.push(await read(item));
      own[name] = list;
    } else own[name] = await read(value);
  }
  return { state, groups: savedGroups };
}

/** What is wrong with a saved value, or null. */
function misfit(value: unknown, want: Shape | null): string | null {
  if (typeof value === 'number') return null;
  if (!isTensor(value) && !isHostTensor(value)) return 'is no tensor or number';
  if (want === null || sameShape(value.shape, want)) return null;
  return `is ${showShape(value.shape)}, the parameter ${showShape(want)}`;
}
