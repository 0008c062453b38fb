import { assign, type HostTensorLike } from '../nn/state-dict.js';
import { isTensor } from '../tensor/scope.js';
import { sameShape, showShape, type Shape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

/** An optimizer's state dict, checked and read. */
export interface LoadedState {
  readonly state: ReadonlyMap<Tensor, Record<string, Tensor | number>>;
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
  stateLike: (parameter: Tensor) => Tensor,
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
  const jobs: { parameter: Tensor; name: string; value: Tensor | HostTensorLike | number }[] = [];
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
        if (value === null || value === undefined) continue;
        const shape: Shape | null = isTensor(value) || isHostTensor(value) ? value.shape : null;
        if (shape === null && typeof value !== 'number')
          problems.push(`${name} of parameter ${k} is no tensor or number`);
        else if (name !== 'step' && shape !== null && !sameShape(shape, parameter.shape)) {
          problems.push(
            `${name} of parameter ${k} is ${showShape(shape)}, the parameter ${showShape(parameter.shape)}`,
          );
        } else jobs.push({ parameter, name, value: value as Tensor | HostTensorLike | number });
      }
    });
  });
  if (problems.length > 0) throw new Error(`${at}${problems.join('; ')}`);
  const state = new Map<Tensor, Record<string, Tensor | number>>();
  for (const { parameter, name, value } of jobs) {
    let own = state.get(parameter);
    if (own === undefined) state.set(parameter, (own = {}));
    if (typeof value === 'number') own[name] = value;
    else if (name === 'step') own[name] = (await numbersOf(value))[0] ?? 0;
    else {
      const target = stateLike(parameter);
      assign(target, isTensor(value) ? value : { shape: value.shape, data: await numbersOf(value) });
      own[name] = target;
    }
  }
  return { state, groups: savedGroups };
}
