import { checkCount, isPlainObject, noMore } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { internals, propertiesOf } from '../base/call.js';
import { fused, type Fusion } from '../base/fuse.js';
import { fieldsOf, Layer, Module, type TensorModule } from '../base/module.js';
import { noteParameters, ownChildren, ownParameters, putField } from '../base/tree.js';
import { Parameter } from '../base/parameter.js';
import { indexByPlace } from './by-place.js';

/** What Sequential and ModuleList share: children under the names '0', '1', ... */
abstract class ModuleArray extends Layer implements Iterable<TensorModule> {
  /**
   * A child; assign to replace it: `model.classifier[6] = new Linear(4096, 10)`. Negative indices count from
   * the end; one beyond it is an error where it is assigned.
   */
  [index: number]: TensorModule;

  constructor() {
    super();
    indexByPlace(ModuleArray.prototype, (list) => ownChildren(list).map(([, , property]) => property));
  }

  /** Container keys are what the user wrote. */
  protected override stateKey(property: string): string {
    return property;
  }

  override get length(): number {
    return ownChildren<Module>(this).length;
  }

  /** The child at `index`; negative ones count from the end. */
  at(index: number): TensorModule | undefined {
    return [...this].at(index);
  }

  /** Every child in order, one that is there twice included. */
  *[Symbol.iterator](): Generator<TensorModule, void, undefined> {
    for (const [, child] of ownChildren<Module>(this)) yield child as TensorModule;
  }

  append(module: Module): this {
    return this.extend([module]);
  }

  /**
   * Puts `modules` at the end, under the next numbers.
   * @throws Error for what is no array of modules
   */
  extend(modules: Iterable<Module>): this {
    const { name } = this.constructor;
    if (typeof (modules as Partial<Iterable<Module>> | null)?.[Symbol.iterator] !== 'function')
      throw new Error(`${name}.extend: expected an array of modules, got ${String(modules)}`);
    let next = this.length;
    const add = this.hasNames() ? addNamed : putField;
    for (const module of modules) {
      this.check(module, next);
      add(this, String(next++), module);
    }
    return this;
  }

  /**
   * Takes the child at `index` out, the last one by default. The others are numbered anew, as in PyTorch,
   * those with names too.
   * @throws Error for an index that is out of range
   */
  pop(index = -1): TensorModule {
    checkCount(`${this.constructor.name}.pop`, arguments.length, 1);
    const all = [...this];
    const [taken] = all.splice(this.place('pop', index, all.length - 1), 1);
    this.number(all);
    return taken as TensorModule;
  }

  /**
   * Puts `module` at `index` and moves the later children up.
   * @throws Error for an index that is out of range, and before a child that has a name, as in PyTorch
   */
  insert(index: number, module: Module): this {
    const all: Module[] = [...this];
    const { name } = this.constructor;
    const at = this.place('insert', index, all.length);
    this.check(module, at);
    if (at === all.length) return this.append(module);
    if (this.hasNames())
      throw new Error(
        `${name}.insert: the children have names, which cannot be moved up; make a new ${name} of all`,
      );
    all.splice(at, 0, module);
    this.number(all);
    return this;
  }

  private hasNames(): boolean {
    return ownChildren<Module>(this).some(([name], i) => name !== String(i));
  }

  private number(modules: readonly Module[]): void {
    for (const [name] of ownChildren<Module>(this)) Reflect.deleteProperty(this, name);
    delete this[internals].order;
    modules.forEach((module, i) => putField(this, String(i), module));
  }

  private place(op: string, index: number, most: number): number {
    const { length } = this;
    if (Number.isInteger(index) && index >= -length && index <= most)
      return index < 0 ? index + length : index;
    throw new Error(
      `${this.constructor.name}.${op}: index ${String(index)} is out of range for ${length} modules`,
    );
  }

  protected check(module: unknown, name: number | string): void {
    if (module instanceof Module) return;
    const got = Array.isArray(module) ? 'an array; spread it' : module === null ? 'null' : typeof module;
    throw new Error(`${this.constructor.name}: child ${name} is not a module (got ${got})`);
  }
}

/**
 * `torch.nn.Sequential`: each child is called with what the one before returned. Its children are its integer
 * properties (`model[0]`), or named ones when it is made from an object or a Map: `new Sequential({ conv:
 * ..., relu: ... })`. Each intermediate result is freed as soon as the next child has run.
 */
export class Sequential extends ModuleArray {
  /** @internal */
  static readonly fusion: Fusion<Sequential> = { layers: (sequence) => [...sequence] };

  constructor(...modules: readonly Module[] | readonly [NamedModules]) {
    super();
    const [first] = modules;
    if (modules.length === 1 && (first instanceof Map || isPlainObject(first))) {
      for (const [name, module] of namedOf('Sequential', first as NamedModules)) {
        this.check(module, name);
        addNamed(this, name, module);
      }
    } else this.extend(modules as readonly Module[]);
  }

  forward(x: Tensor): Tensor {
    return fused(x, [...this]);
  }

  /** A Sequential of some of the children (the same modules, not copies), by the rules of `Array.slice`. */
  slice(start?: number, end?: number): Sequential {
    return new Sequential(...[...this].slice(start, end));
  }
}

function addNamed(container: Module, name: string, value: unknown): void {
  const type = container.constructor.name;
  if (typeof name !== 'string' || name === '' || name.includes('.')) {
    throw new Error(`${type}: '${String(name)}' cannot name a module; names are not empty and hold no '.'`);
  }
  const before = fieldsOf(container)[name];
  if (name in container && !(before instanceof Module || before instanceof Parameter)) {
    throw new Error(
      `${type}: '${name}' cannot name a module, because it is a method or property; choose another name`,
    );
  }
  const properties = propertiesOf(container);
  putField(container, name, value);
  // An object has numbers first, whenever they were added.
  if (!properties.includes(name) && (/^\d+$/.test(name) || container[internals].order !== undefined))
    container[internals].order = [...properties, name];
}

/** What `update` and the constructor of a dict take. */
type Named<T> = Readonly<Record<string, T>> | Iterable<readonly [string, T]> | { entries(): [string, T][] };

function namedOf<T>(op: string, what: Named<T>): Iterable<readonly [string, T]> {
  if (what instanceof ModuleDict || what instanceof ParameterDict) return what.entries() as [string, T][];
  if (typeof what !== 'object' || (what as object | null) === null)
    throw new Error(`${op}: expected an object or pairs of a name and a value, got ${String(what)}`);
  return Symbol.iterator in what ? what : Object.entries(what as Readonly<Record<string, T>>);
}

/** Takes the entry `name` of a dict out. @throws Error listing the names there are when it is not one */
function popOf<T>(dict: { get(name: string): T; delete(name: string): boolean }, name: string): T {
  const taken = dict.get(name);
  dict.delete(name);
  return taken;
}

type NamedModules = Readonly<Record<string, Module>> | ReadonlyMap<string, Module>;

/** `torch.nn.ModuleList`: an array of modules that belongs to the tree. It is not called; loop over it. */
export class ModuleList extends ModuleArray {
  constructor(modules: Iterable<Module> | null = null) {
    checkCount('ModuleList', arguments.length, 1);
    super();
    this.extend(modules ?? []);
  }

  /** A list of some of the modules (the same ones, not copies), by the rules of `Array.slice`. */
  slice(start?: number, end?: number): ModuleList {
    return new ModuleList([...this].slice(start, end));
  }

  forward(): never {
    throw new Error('ModuleList: a list is not called; call its modules in your forward');
  }
}

/**
 * `torch.nn.ModuleDict`: named modules that belong to the tree. It is not called; its keys are used as they
 * are.
 */
export class ModuleDict<M extends Module = TensorModule> extends Module {
  constructor(modules: Named<M> = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    this.update(modules);
  }

  update(modules: Named<M>): this {
    for (const [name, module] of namedOf('ModuleDict', modules)) this.set(name, module);
    return this;
  }

  clear(): void {
    for (const name of this.keys()) this.delete(name);
  }

  /** The keys. */
  *[Symbol.iterator](): Generator<string, void, undefined> {
    yield* this.keys();
  }

  protected override stateKey(property: string): string {
    return property;
  }

  get size(): number {
    return ownChildren<Module>(this).length;
  }

  set(name: string, module: M): this {
    if (!(module instanceof Module))
      throw new Error(`ModuleDict: '${name}' is not a module (got ${typeof module})`);
    addNamed(this, name, module);
    return this;
  }

  /** @throws Error listing the names there are when `name` is not one of them */
  get(name: string): M {
    const found = ownChildren<Module>(this).find(([key]) => key === name)?.[1];
    if (found === undefined)
      throw new Error(`ModuleDict: there is no '${name}' (there is: ${this.keys().join(', ')})`);
    return found as M;
  }

  has(name: string): boolean {
    return ownChildren<Module>(this).some(([key]) => key === name);
  }

  delete(name: string): boolean {
    return this.has(name) && Reflect.deleteProperty(this, name);
  }

  /** Takes `name` out. @throws Error listing the names there are when it is not one of them */
  pop(name: string): M {
    return popOf<M>(this, name);
  }

  keys(): string[] {
    return ownChildren<Module>(this).map(([key]) => key);
  }

  values(): M[] {
    return ownChildren<Module>(this).map(([, module]) => module as M);
  }

  /** PyTorch's name of {@link entries}. */
  items(): [string, M][] {
    return this.entries();
  }

  entries(): [string, M][] {
    return ownChildren<Module>(this).map(([key, module]) => [key, module as M]);
  }

  forward(): never {
    throw new Error('ModuleDict: a dict is not called; call its modules in your forward');
  }
}

function parameterOf(value: Tensor): Parameter {
  if (!isTensor(value)) throw new Error(`nn: expected a tensor to make a parameter of, got ${String(value)}`);
  return value instanceof Parameter ? value : new Parameter(value);
}

/** As PyTorch 1.13 prints the parameters of a container. */
const listed = (
  parameters: Iterable<readonly [string | number, Parameter]>,
  type: (p: Parameter) => string,
) =>
  [...parameters]
    .map(([key, p]) => `  (${key}): Parameter containing: [torch.${type(p)} of size ${p.shape.join('x')}]`)
    .join('\n');

/**
 * `torch.nn.ParameterList`: an array of parameters that belongs to the tree. Tensors are wrapped as
 * parameters.
 */
export class ParameterList extends Module implements Iterable<Parameter> {
  /** Assign to replace; negative indices count from the end, and one beyond it is an error. */
  [index: number]: Parameter;

  constructor(parameters: Iterable<Tensor> = []) {
    noMore(new.target.name, arguments, 1);
    super();
    indexByPlace(ParameterList.prototype, (list) => ownParameters(list).map(([, , property]) => property));
    this.extend(parameters);
  }

  override get length(): number {
    return ownParameters(this).length;
  }

  at(index: number): Parameter | undefined {
    return [...this].at(index);
  }

  append(parameter: Tensor): this {
    putField(this, String(this.length), parameterOf(parameter));
    noteParameters(this);
    return this;
  }

  extend(parameters: Iterable<Tensor>): this {
    for (const parameter of parameters) this.append(parameter);
    return this;
  }

  *[Symbol.iterator](): Generator<Parameter, void, undefined> {
    for (const [, parameter] of ownParameters(this)) yield parameter;
  }

  forward(): never {
    throw new Error('ParameterList: a list is not called; use its parameters in your forward');
  }

  override extraRepr(): string {
    return listed([...this].entries(), (p) => p.dtype);
  }
}

/**
 * `torch.nn.ParameterDict`: named parameters that belong to the tree; its keys are used as they are. Tensors
 * are wrapped as parameters.
 */
export class ParameterDict extends Module {
  constructor(parameters: Named<Tensor> = {}) {
    noMore(new.target.name, arguments, 1);
    super();
    this.update(parameters);
  }

  protected override stateKey(property: string): string {
    return property;
  }

  get size(): number {
    return this.keys().length;
  }

  update(parameters: Named<Tensor>): this {
    for (const [name, value] of namedOf('ParameterDict', parameters)) this.set(name, value);
    return this;
  }

  set(name: string, value: Tensor): this {
    addNamed(this, name, parameterOf(value));
    return this;
  }

  /** @throws Error listing the names there are when `name` is not one of them */
  get(name: string): Parameter {
    const found = this.entries().find(([key]) => key === name)?.[1];
    if (found === undefined)
      throw new Error(`ParameterDict: there is no '${name}' (there is: ${this.keys().join(', ')})`);
    return found;
  }

  has(name: string): boolean {
    return this.keys().includes(name);
  }

  delete(name: string): boolean {
    return this.has(name) && Reflect.deleteProperty(this, name);
  }

  /** Takes `name` out. @throws Error listing the names there are when it is not one of them */
  pop(name: string): Parameter {
    return popOf<Parameter>(this, name);
  }

  clear(): void {
    for (const name of this.keys()) this.delete(name);
  }

  keys(): string[] {
    return this.entries().map(([name]) => name);
  }

  values(): Parameter[] {
    return this.entries().map(([, value]) => value);
  }

  /** PyTorch's name of {@link entries}. */
  items(): [string, Parameter][] {
    return this.entries();
  }

  entries(): [string, Parameter][] {
    return ownParameters(this).map(([name, parameter]) => [name, parameter]);
  }

  /** The keys. */
  *[Symbol.iterator](): Generator<string, void, undefined> {
    yield* this.keys();
  }

  forward(): never {
    throw new Error('ParameterDict: a dict is not called; use its parameters in your forward');
  }

  override extraRepr(): string {
    return listed(this.entries(), ({ dtype }) => `${dtype === 'float16' ? 'Half' : 'Float'}Tensor`);
  }
}
