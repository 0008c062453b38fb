/** Functions that a tensor calls with gradients. */

export interface HookHandle {
  remove(): void;
}

/** @internal Adds `hook` to `hooks`. */
export function addHook<F>(hooks: F[], hook: F): HookHandle {
  hooks.push(hook);
  return {
    remove: () => {
      const at = hooks.indexOf(hook);
      if (at >= 0) hooks.splice(at, 1);
    },
  };
}

/** @internal What a leaf is, as far as its hooks go. */
interface Leaf<T> {
  readonly requiresGrad: boolean;
  readonly node: object | null;
  gradHooks: ((leaf: T) => void)[] | null;
}

/** @internal As `Tensor.registerPostAccumulateGradHook`. */
export function addLeafHook<T>(leaf: Leaf<T>, hook: (leaf: T) => void): HookHandle {
  if (!leaf.requiresGrad || leaf.node !== null)
    throw new Error(
      'registerPostAccumulateGradHook: this tensor is no leaf that requires grad; registerHook sees gradients of others',
    );
  return addHook((leaf.gradHooks ??= []), hook);
}
