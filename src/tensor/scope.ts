/**
 * Ownership of tensor handles without the user counting anything. While a scope is open it owns every handle
 * made in it; when it ends, handles that its result does not hold and that nobody kept are disposed.
 * Handles made outside every scope belong to the garbage collector (see lifetime.ts).
 */
export class Scope {
  readonly made: Handle[] = [];
  constructor(
    readonly name: string,
    readonly parent: Scope | null,
  ) {}
}

/** What scopes own. */
export interface Handle {
  readonly isDisposed: boolean;
  readonly isKept: boolean;
  /** The last scope's end that found it in a result. */
  scopeMark: number;
  disposeBy(who: string): void;
  /** Leaves it to the garbage collector. */
  watch(): void;
}

let current: Scope | null = null;
let marks = 0;

export const currentScope = (): Scope | null => current;

export function beginScope(name: string): Scope {
  current = new Scope(name, current);
  return current;
}

/**
 * Ends `scope`: what `result` holds (tensors in nested arrays, plain objects, Maps and Sets) and kept tensors
 * move to the enclosing scope, everything else made in it is disposed.
 */
export function endScope(scope: Scope, result: unknown, also?: unknown): void {
  current = scope.parent;
  if (scope.made.length === 0) return;
  const mark = ++marks;
  markTensors(result, mark, 0);
  if (also !== undefined) markTensors(also, mark, 0);
  for (const tensor of scope.made) {
    if (tensor.isDisposed) continue;
    if (tensor.scopeMark === mark || tensor.isKept) {
      if (scope.parent !== null && !tensor.isKept) scope.parent.made.push(tensor);
      else tensor.watch();
    } else {
      tensor.disposeBy(scope.name);
    }
  }
}

/** Leaves a scope after an exception: everything made in it goes. */
export function abandonScope(scope: Scope): void {
  current = scope.parent;
  for (const tensor of scope.made) if (!tensor.isDisposed && !tensor.isKept) tensor.disposeBy(scope.name);
}

const maxDepth = 6;

function markTensors(value: unknown, mark: number, depth: number): void {
  if (value === null || typeof value !== 'object') return;
  if (isHandle(value)) {
    value.scopeMark = mark;
    return;
  }
  if (depth >= maxDepth || ArrayBuffer.isView(value)) return;
  if (Array.isArray(value)) {
    for (const item of value) markTensors(item, mark, depth + 1);
  } else if (value instanceof Map) {
    for (const item of value.values()) markTensors(item, mark, depth + 1);
  } else if (value instanceof Set) {
    for (const item of value) markTensors(item, mark, depth + 1);
  } else {
    for (const item of Object.values(value)) markTensors(item, mark, depth + 1);
  }
}

export const tensorBrand: unique symbol = Symbol.for('kindling.Tensor') as never;

/** By brand, not by class: this file is below the Tensor class. */
export function isHandle(value: unknown): value is Handle {
  return typeof value === 'object' && value !== null && tensorBrand in value;
}
