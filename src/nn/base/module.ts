import { isDeviceName, type DeviceName, type DType } from '../../tensor/dtype.js';
import { isTensor, type Tensor, type HookHandle } from '../../tensor/tensor.js';
import type { Shape } from '../../tensor/shape.js';
import {
  callModule,
  checkLoaded,
  checkMayLoad,
  internals,
  isLayer,
  type ForwardHook,
  type ForwardPreHook,
  type ModuleInternals,
} from './call.js';
import { convert } from './convert.js';
import { checkHook, HookList, type HookGrads } from './hooks.js';
import { snakeCase } from './naming.js';
import { noteModule } from './living.js';
import { clearGrads, readZeroGrad, type ZeroGradArgs, Parameter } from './parameter.js';
import { layout } from './repr.js';
import {
  loadStateDict,
  readLoad,
  readStateDict,
  type IncompatibleKeys,
  type LoadArgs,
  type StateDict,
  type StateDictOptions,
  type StateEntry,
  type TensorLike,
} from './state-dict.js';
import {
  assign,
  checkProperty,
  childNamed,
  collect,
  ownBuffers,
  ownChildren,
  ownParameters,
  readBuffers,
  readModules,
  readNamedBuffers,
  readNamedParameters,
  readParameters,
  walk,
  type MemberArgs,
  type Named,
  type RecurseArgs,
  type WalkOptions,
} from './tree.js';
import { summarize, type Summary, type SummaryOptions } from './summary.js';
import { namedMap } from '../../tensor/named-map.js';
import { noMore, optionReader, requireBoolean, type Trailing } from '../../tensor/options.js';

/** The arguments of a module's forward. */
export type Inputs<M extends Module> = Parameters<M['forward']>;
/** What a module's forward returns. */
export type Output<M extends Module> = ReturnType<M['forward']>;

/**
 * What the children of most modules are: one tensor in, one out. The tree is typed so; `instanceof` tells
 * more.
 */
export interface TensorModule extends Module {
  forward(x: Tensor): Tensor;
}

// Calling a module is calling its forward, in its types.
export interface Module {
  (...args: Parameters<this['forward']>): ReturnType<this['forward']>;
}

const readBuffer = optionReader('registerBuffer', { persistent: true }, 'persistent');

export type Fields = Record<string, unknown>;
/** @internal */
export const fieldsOf = (module: Module): Fields => module as unknown as Fields;

/** @internal The function that a module is. Nothing of Function shows, so that fields may have any name. */
export function makeCallable(prototype: object): Module {
  const self = ((...args: unknown[]) => callModule(self, args)) as unknown as Module;
  Reflect.deleteProperty(self, 'name');
  Reflect.deleteProperty(self, 'length');
  Object.setPrototypeOf(self, prototype);
  const state: ModuleInternals = {
    buffers: new Map(),
    preHooks: new HookList(),
    forwardHooks: new HookList(),
    backwardHooks: new HookList(),
    parameters: new Set(),
    loading: null,
  };
  Object.defineProperty(self, internals, { value: state });
  noteModule(self);
  return self;
}

/**
 * `torch.nn.Module`. A module is called like a function, `model(x)`, which runs its `forward` in a memory
 * scope.
 *
 * ```ts
 * class Net extends Module {
 *   conv = new Conv2d(3, 16, 3, { padding: 1 });
 *   fc = new Linear(16, 10);
 *   forward(x: Tensor) {
 *     return this.fc(relu(this.conv(x)).mean([2, 3]));
 *   }
 * }
 * ```
 * The tree is the object's own properties in order: a Module is a child, a {@link Parameter} a parameter, a
 * tensor named to `registerBuffer` a buffer. Assigning another one replaces it, null removes it. Arrays do
 * not count: use `ModuleList`. State-dict keys are the property names in PyTorch's spelling (`runningMean` is
 * `running_mean`).
 */
export abstract class Module {
  /** Set by `train()` and `eval()`. */
  declare training: boolean;
  /** @internal */
  declare readonly [internals]: ModuleInternals;

  constructor() {
    noMore(new.target.name, arguments, 0);
    const self = makeCallable(new.target.prototype) as this;
    self.training = true;
    return self;
  }

  /** What the module computes. Call the module, not this: only the call runs hooks and frees temporaries. */
  abstract forward(...args: never[]): unknown;

  /** The state-dict key of a property. Override it where PyTorch's name is not the snake_case one. */
  protected stateKey(property: string): string {
    return snakeCase(property);
  }

  /** What stands in the parentheses when the module is printed. */
  extraRepr(): string {
    return '';
  }

  // ---- the tree

  /**
   * Makes `tensor` (or null, for one that may come later) a buffer: part of the model's state, but not
   * trained. With `persistent: false` it is not in the state dict.
   *
   * @throws Error for a name that is taken, is empty or has a '.', and for what is no tensor
   */
  registerBuffer(
    property: string,
    tensor: Tensor | null,
    ...args: Trailing<[persistent: boolean], { persistent?: boolean }>
  ): void {
    const { persistent } = readBuffer(args);
    checkProperty('registerBuffer', 'buffer', this, property, this[internals].buffers.has(property));
    if (tensor !== null && !isTensor(tensor))
      throw new Error(`registerBuffer: '${property}' must be a tensor or null, got ${String(tensor)}`);
    if (tensor instanceof Parameter)
      throw new Error(`registerBuffer: '${property}' is a Parameter; assign it as a property instead`);
    this[internals].buffers.set(property, persistent);
    fieldsOf(this)[property] = tensor?.keep() ?? null;
  }

  /** As assigning the property. @throws Error for a name that is taken, and for what is no Parameter */
  registerParameter(property: string, parameter: Parameter | null): void {
    assign('registerParameter', Parameter, this, property, parameter);
  }

  /** The same of a child. */
  addModule(property: string, module: Module | null): void {
    assign('addModule', Module, this, property, module);
  }

  /** Direct children, each once. */
  children(): TensorModule[] {
    return this.namedChildren().map(([, child]) => child);
  }

  namedChildren(): [name: string, child: TensorModule][] {
    const seen = new Set<Module>();
    const named: [string, Module][] = [];
    for (const [name, child] of ownChildren(this)) {
      if (!seen.has(child)) named.push([name, child]);
      seen.add(child);
    }
    return named as [string, TensorModule][];
  }

  /** This module and all below it, parents first, each once. */
  modules(): TensorModule[] {
    return this.namedModules().map(([, module]) => module);
  }

  /** {@link modules} with their paths; with `removeDuplicate: false` each as often as it is there. */
  namedModules(
    ...args: Trailing<[prefix: string, removeDuplicate: boolean], WalkOptions>
  ): Named<TensorModule> {
    return walk<Module>(this, readModules(args)) as Named<TensorModule>;
  }

  /** The parameters of this module and, unless `recurse` is false, of all below it, each once. */
  parameters(...args: RecurseArgs): Parameter[] {
    const { recurse } = readParameters(args);
    return this.namedParameters({ recurse }).map(([, parameter]) => parameter);
  }

  /** {@link parameters} with their paths; with `removeDuplicate: false` each as often as it is there. */
  namedParameters(...args: MemberArgs): Named<Parameter> {
    const named = collect(this, readNamedParameters(args), ownParameters);
    // Seen from the root a parameter has its longest name, the one that helps in messages.
    for (const [name, parameter] of named) if (name.length > parameter.name.length) parameter.name = name;
    return named;
  }

  /** The buffers of this module and, unless `recurse` is false, of all below it, each once. */
  buffers(...args: RecurseArgs): Tensor[] {
    const { recurse } = readBuffers(args);
    return this.namedBuffers({ recurse }).map(([, buffer]) => buffer);
  }

  /** {@link buffers} with their paths; with `removeDuplicate: false` each as often as it is there. */
  namedBuffers(...args: MemberArgs): Named<Tensor> {
    return collect(this, readNamedBuffers(args), ownBuffers);
  }

  /**
   * The module at a dotted path such as `layer1.0.conv1`; '' is this module. Given a class, it checks that
   * the module is one and is typed accordingly: `model.getSubmodule('classifier.6', Linear).inFeatures`.
   *
   * @throws Error naming the part of the path that does not exist and what does
   */
  getSubmodule(path: string): TensorModule;
  getSubmodule<M extends Module>(path: string, type: abstract new (...args: never) => M): M;
  getSubmodule(path: string, type?: abstract new (...args: never) => Module): Module {
    const found = (path === '' ? [] : path.split('.')).reduce(
      (at, name) => childNamed<Module>(at, name, path),
      this as Module,
    );
    if (type !== undefined && !(found instanceof type)) {
      throw new Error(
        `getSubmodule: '${path}' is a ${(found as Module).constructor.name}, not a ${type.name}`,
      );
    }
    return found;
  }

  /** The parameter at a dotted path such as `layer1.0.conv1.weight`. */
  getParameter(path: string): Parameter {
    const dot = path.lastIndexOf('.');
    const owner = this.getSubmodule(path.slice(0, Math.max(0, dot)));
    const name = path.slice(dot + 1);
    const found = ownParameters(owner).find(([key]) => key === name)?.[1];
    if (found === undefined)
      throw new Error(`getParameter: ${owner.constructor.name} has no parameter '${name}' ('${path}')`);
    return found;
  }

  // ---- modes

  /**
   * Training mode for this module and all below it: dropout drops, batch norm uses and updates batch
   * statistics.
   */
  train(mode = true): this {
    requireBoolean('train: mode', mode);
    for (const module of this.modules()) module.training = mode;
    return this;
  }

  /** Evaluation mode: `train(false)`. */
  eval(): this {
    noMore('eval', arguments, 0);
    return this.train(false);
  }

  /** Freezes (false) or unfreezes every parameter. */
  requiresGrad_(requiresGrad = true): this {
    requireBoolean('requiresGrad_', requiresGrad);
    for (const parameter of this.parameters()) parameter.requiresGrad = requiresGrad;
    return this;
  }

  /** Drops all gradients; with `setToNone: false` they become zeros. */
  zeroGrad(...args: ZeroGradArgs): void {
    const { setToNone } = readZeroGrad(args);
    clearGrads(() => this.parameters(), setToNone);
  }

  /** Calls `fn` on every module, children before their parents: the place for custom initialisation. */
  apply(fn: (module: TensorModule) => void): this {
    for (const child of this.children()) child.apply(fn);
    fn(this as unknown as TensorModule);
    return this;
  }

  /**
   * Converts floating point parameters and buffers. Unlike PyTorch's the parameters are new objects, to which
   * gradients and hooks go along, and the old ones are freed: make the optimizer afterwards. The name of a
   * device changes nothing: there is one.
   */
  to(target: DType | DeviceName): this {
    noMore('to', arguments, 1);
    if (!isDeviceName(target)) convert(this.modules(), target);
    return this;
  }

  /** Nothing to do: there is one device, the GPU. */
  cuda(): this {
    noMore('cuda', arguments, 0);
    return this;
  }

  /** Nothing to do: there is one device, the GPU. */
  cpu(): this {
    noMore('cpu', arguments, 0);
    return this;
  }

  float(): this {
    noMore('float', arguments, 0);
    return this.to('float32');
  }

  half(): this {
    noMore('half', arguments, 0);
    return this.to('float16');
  }

  /** Frees the memory of every parameter and buffer now. The model cannot be used afterwards. */
  dispose(): void {
    for (const parameter of this.parameters()) {
      parameter.grad = null;
      parameter.dispose();
    }
    for (const buffer of this.buffers()) buffer.dispose();
  }

  // ---- state

  /**
   * Every parameter and persistent buffer under PyTorch's key, as detached tensors that share the model's
   * memory: they change when the model is trained (`clone()` them to keep a snapshot). With `keepVars` they
   * are the parameters and buffers themselves. `prefix` stands before each key. The Map's entries are its
   * properties too: `{ ...model.stateDict() }` has all of them.
   */
  stateDict(...args: Trailing<[prefix: string], StateDictOptions>): Map<string, Tensor> {
    const { prefix, keepVars } = readStateDict(args);
    this.modules().forEach(checkLoaded);
    const state = namedMap<Tensor>();
    for (const { key, tensor } of stateEntries(this, prefix)) {
      if (keepVars) {
        state.set(key, tensor);
        continue;
      }
      const shared = tensor.alias();
      shared.name = key;
      state.set(key, shared);
    }
    return state;
  }

  /**
   * Copies values into the parameters and buffers, in place, so that an optimizer made before still sees
   * them. Values are tensors, or tensors of a weight file; with any of the latter the result is a promise,
   * until which the model cannot be used. float16, bfloat16 and float64 values are converted, int64 counters
   * become int32.
   *
   * @throws Error listing every missing, unexpected and misshapen key at once; then nothing was loaded. With
   * `strict: false` missing and unexpected keys are returned instead.
   */
  loadStateDict(state: StateDict<Tensor>, ...args: LoadArgs): IncompatibleKeys;
  loadStateDict(state: StateDict<TensorLike>, ...args: LoadArgs): Promise<IncompatibleKeys>;
  loadStateDict(
    state: StateDict<TensorLike>,
    ...args: LoadArgs
  ): IncompatibleKeys | Promise<IncompatibleKeys> {
    const { strict } = readLoad(args);
    if (typeof state !== 'object' || (state as object | null) === null)
      throw new Error(`loadStateDict: expected a Map or an object of tensors by name, got ${String(state)}`);
    const modules = this.modules();
    modules.forEach(checkMayLoad);
    const renamed = renameKeys(this, state);
    for (const [path, module] of this.namedModules())
      (module as Module).beforeLoad?.((key) => renamed.get(path === '' ? key : `${path}.${key}`)?.shape);
    return loadStateDict(this.constructor.name, modules, stateEntries(this, ''), renamed, strict);
  }

  /** @internal Lazy layers take their sizes from what is loaded. */
  beforeLoad?(shapeOf: (key: string) => Shape | undefined): void;

  /**
   * Called with each key of a state dict that is loaded: returns the key it has here, or null to leave the
   * entry out. For models whose older files name things differently.
   */
  protected loadKey(key: string): string | null {
    return key;
  }

  // ---- hooks

  /** Called after forward; what it returns (other than undefined or null) replaces the output. */
  registerForwardHook<M extends Module>(
    this: M,
    hook: (module: M, args: Inputs<M>, output: Output<M>) => Output<M> | null | undefined | void,
  ): HookHandle {
    checkHook('registerForwardHook', arguments, hook);
    return this[internals].forwardHooks.add(hook as unknown as ForwardHook);
  }

  /** Called before forward; it may return the new arguments: an array, or a single value. */
  registerForwardPreHook<M extends Module>(
    this: M,
    hook: (module: M, args: Inputs<M>) => Inputs<M> | Inputs<M>[0] | null | undefined | void,
  ): HookHandle {
    checkHook('registerForwardPreHook', arguments, hook);
    return this[internals].preHooks.add(hook as unknown as ForwardPreHook);
  }

  /**
   * Called in backward when the gradients of the module's inputs are known. It may return what replaces
   * `gradInput`: the gradients of those tensor arguments that require grad, in order.
   */
  registerFullBackwardHook<M extends Module>(
    this: M,
    hook: (module: M, gradInput: HookGrads, gradOutput: HookGrads) => Tensor | HookGrads | null | void,
  ): HookHandle {
    checkHook('registerFullBackwardHook', arguments, hook);
    return this[internals].backwardHooks.add(hook as never);
  }

  /**
   * A table of the layers for inputs of `inputShape` (batch included; a list of shapes for several inputs):
   * output shapes, parameters, multiply-adds and memory. One forward pass in evaluation mode, of which the
   * GPU runs nothing.
   */
  summary(inputShape: Shape | readonly Shape[], options: SummaryOptions = {}): Summary {
    return summarize(this, inputShape, options);
  }

  /** PyTorch's `print(model)`, line for line. */
  toString(): string {
    return layout(
      this.constructor.name,
      this.extraRepr(),
      ownChildren(this).map(([key, child]) => [key, child.toString()]),
    );
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** What the library's own layers extend: a call with more arguments than forward takes throws. */
export abstract class Layer extends Module {
  /** @internal */
  get [isLayer](): true {
    return true;
  }
}

// ---- reading the tree

/**
 * @internal The state dict under the keys of today: each module's `loadKey` sees the keys below it, without
 * its path. Loading does this by itself.
 */
export function renameKeys<T>(root: Module, state: StateDict<T>): Map<string, T> {
  let entries: [string, T][] = [
    ...((state instanceof Map ? state : Object.entries(state)) as Iterable<[string, T]>),
  ];
  for (const [path, module] of root.namedModules()) {
    const renamer = module as unknown as { loadKey(key: string): string | null };
    if (renamer.loadKey === (Module.prototype as unknown as typeof renamer).loadKey) continue;
    const prefix = path === '' ? '' : `${path}.`;
    entries = entries.flatMap(([key, value]) => {
      if (!key.startsWith(prefix)) return [[key, value]];
      const renamed = renamer.loadKey(key.slice(prefix.length));
      return renamed === null ? [] : [[prefix + renamed, value]];
    });
  }
  return new Map(entries);
}

function stateEntries(module: Module, prefix: string): StateEntry[] {
  const { buffers } = module[internals];
  const entries: StateEntry[] = [];
  for (const [key, tensor] of ownParameters(module)) entries.push({ key: prefix + key, tensor });
  for (const [key, tensor, property] of ownBuffers(module)) {
    if (buffers.get(property)) entries.push({ key: prefix + key, tensor });
  }
  for (const [key, child] of ownChildren(module)) entries.push(...stateEntries(child, `${prefix}${key}.`));
  return entries;
}
