import type { Tensor } from '../../tensor/tensor.js';
import { fused, type Fusion } from '../base/fuse.js';
import { Module, ownChildren, type TensorModule } from '../base/module.js';
import { Parameter } from '../base/parameter.js';

/** What Sequential and ModuleList share: children under the names '0', '1', ... */
abstract class ModuleArray extends Module implements Iterable<TensorModule> {
  /** A child; assign to replace it: `model.classifier[6] = new Linear(4096, 10)`. */
  [index: number]: TensorModule;

  /** Container keys are what the user wrote. */
  protected override stateKey(property: string): string {
    return property;
  }

  override get length(): number {
    return ownChildren(this).length;
  }

  /** The child at `index`; negative ones count from the end. */
  at(index: number): TensorModule | undefined {
    return [...this].at(index);
  }

  /** Every child in order, one that is there twice included. */
  *[Symbol.iterator](): Generator<TensorModule, void, undefined> {
    for (const [, child] of ownChildren(this)) yield child as TensorModule;
  }

  append(module: Module): this {
    return this.extend([module]);
  }

  extend(modules: Iterable<Module>): this {
    let next = this.length;
    for (const module of modules) {
      this.check(module, next);
      this[next++] = module as TensorModule;
    }
    return this;
  }

  /** Takes the last child out. */
  pop(): TensorModule | undefined {
    const last = this.at(-1);
    if (last !== undefined) Reflect.deleteProperty(this, this.length - 1);
    return last;
  }

  /** Puts `module` at `index` and moves the later children up. */
  insert(index: number, module: Module): this {
    const all: Module[] = [...this];
    if (!Number.isInteger(index) || Math.abs(index) > all.length) {
      throw new Error(
        `${this.constructor.name}.insert: index ${index} is out of range for ${all.length} modules`,
      );
    }
    all.splice(index, 0, module);
    all.forEach((child, i) => {
      this.check(child, i);
      this[i] = child as TensorModule;
    });
    return this;
  }

  protected check(module: unknown, name: number | string): void {
    if (module instanceof Module) return;
    throw new Error(
      `${this.constructor.name}: child ${name} is not a module (got ${module === null ? 'null' : typeof module})`,
    );
  }
}

/**
 * `torch.nn.Sequential`: each child is called with what the one before returned. Its children are its integer
 * properties (`model[0]`), or named ones when it is made from an object: `new Sequential({ conv: ..., relu:
 * ... })`. Each intermediate result is freed as soon as the next child has run.
 */
export class Sequential extends ModuleArray {
  /** @internal */
  static readonly fusion: Fusion<Sequential> = { layers: (sequence) => [...sequence] };

  constructor(...modules: readonly Module[] | readonly [Readonly<Record<string, Module>>]) {
    super();
    const [first] = modules;
    if (modules.length === 1 && typeof first === 'object' && first !== null) {
      for (const [name, module] of Object.entries(first as Readonly<Record<string, Module>>)) {
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

function addNamed(container: Module, name: string, module: unknown): void {
  if (name === '' || name.includes('.')) {
    throw new Error(
      `${container.constructor.name}: '${name}' cannot name a module; names are not empty and hold no '.'`,
    );
  }
  if (name in container && !Object.hasOwn(container, name)) {
    throw new Error(
      `${container.constructor.name}: '${name}' cannot name a module, because it is a method; choose another name`,
    );
  }
  (container as unknown as Record<string, unknown>)[name] = module;
}

/** `torch.nn.ModuleList`: an array of modules that belongs to the tree. It is not called; loop over it. */
export class ModuleList extends ModuleArray {
  constructor(modules: Iterable<Module> = []) {
    super();
    this.extend(modules);
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
  constructor(modules: Readonly<Record<string, M>> | Iterable<readonly [string, M]> = {}) {
    super();
    this.update(modules);
  }

  update(modules: Readonly<Record<string, M>> | Iterable<readonly [string, M]>): this {
    for (const [name, module] of Symbol.iterator in modules ? modules : Object.entries(modules))
      this.set(name, module);
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
    return ownChildren(this).length;
  }

  set(name: string, module: M): this {
    if (!(module instanceof Module))
      throw new Error(`ModuleDict: '${name}' is not a module (got ${typeof module})`);
    addNamed(this, name, module);
    return this;
  }

  /** @throws Error listing the names there are when `name` is not one of them */
  get(name: string): M {
    const found = ownChildren(this).find(([key]) => key === name)?.[1];
    if (found === undefined)
      throw new Error(`ModuleDict: there is no '${name}' (there is: ${this.keys().join(', ')})`);
    return found as M;
  }

  has(name: string): boolean {
    return ownChildren(this).some(([key]) => key === name);
  }

  delete(name: string): boolean {
    return this.has(name) && Reflect.deleteProperty(this, name);
  }

  keys(): string[] {
    return ownChildren(this).map(([key]) => key);
  }

  values(): M[] {
    return ownChildren(this).map(([, module]) => module as M);
  }

  entries(): [string, M][] {
    return ownChildren(this).map(([key, module]) => [key, module as M]);
  }

  forward(): never {
    throw new Error('ModuleDict: a dict is not called; call its modules in your forward');
  }
}

const parameterOf = (value: Tensor): Parameter => (value instanceof Parameter ? value : new Parameter(value));

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
  [index: number]: Parameter;

  constructor(parameters: Iterable<Tensor> = []) {
    super();
    this.extend(parameters);
  }

  override get length(): number {
    return Object.values(this).filter((value) => value instanceof Parameter).length;
  }

  at(index: number): Parameter | undefined {
    return [...this].at(index);
  }

  append(parameter: Tensor): this {
    this[this.length] = parameterOf(parameter);
    return this;
  }

  extend(parameters: Iterable<Tensor>): this {
    for (const parameter of parameters) this.append(parameter);
    return this;
  }

  *[Symbol.iterator](): Generator<Parameter, void, undefined> {
    for (const value of Object.values(this)) if (value instanceof Parameter) yield value;
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
  constructor(parameters: Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]> = {}) {
    super();
    this.update(parameters);
  }

  protected override stateKey(property: string): string {
    return property;
  }

  get size(): number {
    return this.keys().length;
  }

  update(parameters: Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]>): this {
    for (const [name, value] of Symbol.iterator in parameters ? parameters : Object.entries(parameters))
      this.set(name, value);
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

  clear(): void {
    for (const name of this.keys()) this.delete(name);
  }

  keys(): string[] {
    return this.entries().map(([name]) => name);
  }

  values(): Parameter[] {
    return this.entries().map(([, value]) => value);
  }

  entries(): [string, Parameter][] {
    return Object.entries(this).filter(
      (entry): entry is [string, Parameter] => entry[1] instanceof Parameter,
    );
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
