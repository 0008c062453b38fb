import type { ModelBuilder } from './define.js';
import * as zoo from './zoo.js';

const isBuilder = (value: unknown): value is ModelBuilder =>
  typeof value === 'function' && 'modelName' in value;

/** `resnet18` before `resnet101`. */
const { compare } = new Intl.Collator('en', { numeric: true });

const builders: ReadonlyMap<string, ModelBuilder> = new Map(
  (Object.values(zoo) as unknown[])
    .filter(isBuilder)
    .map((builder): [string, ModelBuilder] => [builder.modelName, builder])
    .sort(([a], [b]) => compare(a, b)),
);

/** Names of the models that {@link get} knows, sorted. */
export function list(): string[] {
  return [...builders.keys()];
}

/**
 * The builder of a model by name: `models.get('resnet18')({ numClasses: 10 })`.
 *
 * @throws Error listing the names when there is no such model
 */
export function get(name: string): ModelBuilder {
  const builder = builders.get(name);
  if (builder === undefined) throw new Error(`models: there is no '${name}'; there is ${list().join(', ')}`);
  return builder;
}
