import { Module } from '../nn/base/module.js';
import { isTensor } from '../tensor/tensor.js';

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** What was given, in a few characters. */
export const shown = (value: unknown): string => {
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isObject(value)) return 'an object of another kind';
  return typeof value === 'string' ? `'${value.slice(0, 60)}'` : String(value);
};

/** @throws Error for what is no object of options */
export function requireOptions(where: string, options: unknown, example: string): void {
  if (!isObject(options) || Array.isArray(options))
    throw new Error(`${where}: expected options, such as ${example}, got ${shown(options)}`);
}

/** @throws Error for what is no module, such as a plain function */
export function requireModule(where: string, model: unknown): void {
  if (!(model instanceof Module))
    throw new Error(
      `${where}: \`model\` must be a module, and is ${shown(model)}; put it into the forward of a class that extends nn.Module`,
    );
}

/** @throws Error for what cannot be gone through */
export function requireLoader(where: string, loader: unknown): void {
  const { [Symbol.asyncIterator]: slow, [Symbol.iterator]: fast } = (loader ?? {}) as Partial<
    AsyncIterable<unknown> & Iterable<unknown>
  >;
  if (typeof loader !== 'string' && (typeof slow === 'function' || typeof fast === 'function')) return;
  const hint =
    typeof loader === 'function'
      ? '; if it is a generator function, give { [Symbol.asyncIterator]: batches }, which calls it for each epoch'
      : '';
  throw new Error(
    `${where}: a loader must be a DataLoader, a list of batches or another iterable, and is ${shown(loader)}${hint}`,
  );
}

/** @throws Error unless the object has these methods */
export function requireMethods(
  where: string,
  value: unknown,
  methods: readonly string[],
  hint: string,
): void {
  const missing = methods.filter(
    (name) => typeof (value as Record<string, unknown> | null | undefined)?.[name] !== 'function',
  );
  if (missing.length > 0)
    throw new Error(
      `${where} has no ${missing.map((name) => `${name}()`).join(', ')}: it is ${shown(value)}; ${hint}`,
    );
}

/** @throws Error for what cannot measure */
export function requireMetrics(where: string, metrics: unknown): void {
  requireOptions(`${where}: metrics`, metrics, '{ accuracy: new Accuracy({ numClasses: 2 }) }');
  for (const [name, metric] of Object.entries(metrics as object))
    requireMethods(
      `${where}: metric '${name}'`,
      metric,
      ['update', 'compute', 'reset'],
      'give one of kindling/metrics, or an object with these',
    );
}

/** @throws Error for weights that are no tensor */
export function requireClassWeights(where: string, weights: unknown): void {
  if (weights !== null && weights !== undefined && !isTensor(weights))
    throw new Error(
      `${where}: \`classWeights\` must be a tensor [classes], such as tensor([1, 2]), and is ${shown(weights)}`,
    );
}
